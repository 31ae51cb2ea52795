"""Spec files: YAML with positions, environments merged into one spec, problems with their lines, edits in place.

`load` is the door: it turns the text of a file into a spec. `rewriting` changes a file, and `fields` describes the spec.
"""

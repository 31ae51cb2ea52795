"""Spec files: YAML with positions, environments merged into one spec, problems with their lines, edits in place.

`load` is the door, which turns the text of a file into a spec. `rewriting` edits a file, `fields` describes the spec.
"""

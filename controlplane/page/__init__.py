"""The page under /ui: what the API says and does, for people with a browser.

It works without scripts, and everything that it does goes through the functions of `controlplane.api`.
"""

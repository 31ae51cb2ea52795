"""Tests of decisions about the objects of a cluster; no cluster is needed."""

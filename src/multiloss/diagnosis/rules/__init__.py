"""The rules that make findings: each reads the records of a run, and says nothing where it finds nothing."""

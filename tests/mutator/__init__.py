"""Damaged files for every reader: `python -m tests.mutator --n 20000` prints what becomes of them.

Small valid files are made here from nothing, damaged in ways that follow from a seed, and read. A
reader may accept a damaged file (a flipped digit is another number) or refuse it in words that name
it; a traceback, twenty seconds, or 2 GB more memory than before is a fault of ours.
"""

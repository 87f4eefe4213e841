"""The tables of what is read and where it comes from: one module per purpose, data and no logic.

`languages.py`   the languages of each target, and their names in file names
`evaluation.py`  the test data of the twelve targets of XTREME and XTREME-R
"""

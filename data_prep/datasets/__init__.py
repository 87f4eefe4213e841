"""The tables of what is read and where it comes from: one module per purpose, data and hardly any logic.

`intermediate.py`  the nine intermediate tasks            `languages.py`  of each target; their names in file names
`targets.py`       what the targets train on              `labels.py`     label sets in id order
`text.py`          Wikipedia                              `files.py`      files that are downloaded; published checksums
`evaluation.py`    the test data of the twelve targets    `revisions.py`  the commits of the Hub's repositories
`schema.py`        what a line of the training tables says
"""

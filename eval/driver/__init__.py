"""The driver of an evaluation and the processes it starts."""

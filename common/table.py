"""Tables as the commands print them."""

from collections.abc import Container, Sequence


def table(rows: Sequence[Sequence[str]], right: Container[int] = (), rule: bool = False) -> str:
    """Lines with columns of equal width, those numbered in `right` flush right; `rule`: a line below the first."""
    columns = []
    for number, column in enumerate(zip(*rows, strict=True)):
        width = max(map(len, column))
        columns.append([cell.rjust(width) if number in right else cell.ljust(width) for cell in column])
        if rule:
            columns[-1].insert(1, "-" * width)
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))

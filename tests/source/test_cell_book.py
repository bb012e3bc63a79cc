"""Which runs of cells stay in effect, where the front end sends no ids (nbclient, papermill)."""

import pytest

from dynamo_nb.source import Cell, CellBook

BOTH, LAST = True, False

TABLE = {
    "a value from its own last value": ("n = n * 2", BOTH),
    "an augmented assignment": ("n += 1", BOTH),
    "a value that is swapped": ("a, b = b, a", BOTH),
    "a method that changes a container": ("xs.append(1)", BOTH),
    "an item": ("counts['a'] = counts['a'] + 1", BOTH),
    "a loop over a container that it changes": ("for x in list(xs):\n    xs.append(x)", BOTH),
    "two statements that use each other's values": ("a = b + 1\nb = a + 1", BOTH),
    "a definition": ("def f():\n    return f()", LAST),
    "a plain value": ("n = 1\nn = n * 2", LAST),
    "a container that the cell makes": ("xs = []\nxs.append(1)", LAST),
    "a class that names itself in an annotation": ("class P:\n    def next(self) -> 'P':\n        pass", LAST),
    "a conditional import": ("try:\n    import a\nexcept ImportError:\n    a = None", LAST),
    "a statement that binds nothing": ("print(n)", LAST),
}


@pytest.mark.parametrize("title", TABLE)
def test_equal_cells_without_an_id_count_once_only_if_a_second_run_has_the_same_result(title):
    text, both = TABLE[title]
    book = CellBook()
    for number in (1, 2):
        book.record(Cell(text, f"cell {number}", number))
    assert [cell.number for cell in book] == ([1, 2] if both else [2])


@pytest.mark.parametrize("title", TABLE)
def test_a_cell_with_an_id_counts_once(title):
    book = CellBook()
    for number in (1, 2):
        book.record(Cell(TABLE[title][0], f"cell {number}", number, "id"))
    assert [cell.number for cell in book] == [2]

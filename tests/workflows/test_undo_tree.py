"""Undos of undos, in any order: after every step the incidents are what the results report."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from programs import read_csv, seed_id, write_rows

from bulk_reset import InputError, Options, Totals, plan, run, undo, verify
from bulk_reset.workflows.undo_reports import undone_by

ROWS = 4
Titles = dict[str, str]


class World:
    """A sheet, its report, and the incidents of a sandbox in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sheet = folder / "x.csv"
        self.report = folder / "x.report.csv"
        self.wanted = {seed_id(n): f"Renamed {n}" for n in range(1, ROWS + 1)}
        self.options = Options(
            sandbox_state=folder / "state.json", per_second=5_000, per_minute=300_000
        )
        self.write()
        plan(self.sheet, self.options)  # writes the state
        self.original = self.titles()

    def write(self) -> None:
        """Write the sheet."""
        write_rows(self.sheet, ["id", "title"], *map(list, self.wanted.items()))

    def edit(self, number: int, title: str) -> None:
        """Edit a row of the sheet."""
        self.wanted[seed_id(number)] = title
        self.write()

    def titles(self) -> Titles:
        """Return the current titles of the sheet's incidents."""
        state = json.loads((self.folder / "state.json").read_text())
        return {one: state[one]["title"] for one in self.wanted}

    def set_title(self, number: int, title: str) -> None:
        """Change an incident as another client does."""
        path = self.folder / "state.json"
        state = json.loads(path.read_text())
        state[seed_id(number)]["title"] = title
        path.write_text(json.dumps(state))

    def run(self, *, skip_invalid: bool = False) -> Totals:
        """Run the sheet."""
        options = replace(self.options, report=self.report, skip_invalid=skip_invalid)
        return run(self.sheet, options)

    def undo(self, name: str) -> Totals | None:
        """Undo the run of a report; return the totals."""
        return undo(self.folder / f"{name}.report.csv", self.options).totals


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_run_after_an_undo_that_was_undone_can_be_undone(world: World) -> None:
    """Its undo has a report of its own, and restores the values before the first run."""
    world.run()
    world.undo("x")
    assert world.titles() == world.original
    world.undo("x.undo")
    assert world.titles() == world.wanted
    world.edit(1, "Edited")
    world.run()
    assert world.titles() == world.wanted
    undone = world.undo("x")
    assert undone is not None
    assert Path(undone.report).name == "x.undo-2.report.csv"
    assert world.titles() == world.original
    world.undo("x.undo-2")
    assert world.titles() == world.wanted
    world.undo("x")
    assert (world.titles(), undone_by(world.report)) == (
        world.original,
        world.folder / "x.undo-3.report.csv",
    )


def test_the_error_of_an_undone_run_names_the_undo_that_restores_it(world: World) -> None:
    """For a program a call of Python; the step is an attribute, too."""
    world.run()
    world.undo("x")
    with pytest.raises(InputError) as found:
        world.run()
    [step] = found.value.next_steps
    undo_report = str(world.folder / "x.undo.report.csv")
    assert (step.name, step.arguments) == ("undo", (undo_report,))
    assert str(found.value).endswith(f"To restore its changes: undo({undo_report!r}).")
    undo(*step.arguments, world.options)
    assert (world.titles(), world.run().done_before) == (world.wanted, ROWS)


def test_an_undo_that_was_undone_in_part_leaves_the_run_refused(world: World) -> None:
    """Its report has rows as done that are not; the named step brings them back."""
    world.run()
    world.undo("x")
    world.set_title(1, "Theirs")
    again = world.undo("x.undo")
    assert again is not None
    assert (again.counts["updated"], again.counts["conflict"]) == (ROWS - 1, 1)
    with pytest.raises(InputError, match="its run was undone"):
        world.run()
    world.set_title(1, world.original[seed_id(1)])
    world.undo("x.undo")
    assert (world.titles(), world.run().done_before) == (world.wanted, ROWS)


def test_rows_that_were_brought_back_are_undone_again(world: World) -> None:
    """Part of an undo was undone: the next one compares every row."""
    world.run()
    world.undo("x")
    world.set_title(1, "Theirs")
    world.undo("x.undo")
    again = world.undo("x")
    assert again is not None
    assert (again.counts["updated"], again.counts["conflict"]) == (ROWS - 1, 1)
    assert world.titles() == world.original | {seed_id(1): "Theirs"}


def test_a_value_that_needed_no_undo_and_was_written_later_is_undone(world: World) -> None:
    """An unchanged row of an undo is not done permanently: the run may send another value."""
    world.edit(2, "No")  # too short, so it is rejected
    world.run(skip_invalid=True)
    for number in (1, 3, 4):
        world.set_title(number, world.original[seed_id(number)])
    nothing = world.undo("x")
    assert nothing is not None
    assert nothing.counts["unchanged"] == ROWS - 1
    world.edit(1, "Edited")
    world.run(skip_invalid=True)
    assert world.titles()[seed_id(1)] == "Edited"
    world.undo("x")
    assert world.titles() == world.original


def test_row_numbers_of_an_undo_are_those_of_the_sheet(world: World) -> None:
    """Of the plan, the errors and the verification; also of the undo of an undo."""
    world.run()
    rows: dict[str, int] = {}
    options = replace(world.options, verify=True)
    expected = {seed_id(n): n + 1 for n in range(1, ROWS + 1)}
    world.set_title(3, "Theirs")
    for name in ("x", "x.undo"):
        report = world.folder / f"{name}.report.csv"
        result = undo(
            report, options, add=lambda row: rows.update({row.incident_id: row.row_number})
        )
        assert result.totals is not None
        assert rows == {one: expected[one] for one in rows}
        if name == "x":
            assert [one.row_number for one in result.totals.errors] == [4]
            assert [line["row"] for line in read_csv(world.folder / "x.undo.report.csv")] != [4]


def test_an_undo_called_again_sends_failed_rows_again(world: World, tmp_path: Path) -> None:
    """It has no option for it: what was not restored is tried each time."""
    world.run()
    state = tmp_path / "state.json"
    content = json.loads(state.read_text())
    gone = content.pop(seed_id(2))
    state.write_text(json.dumps(content))
    first = world.undo("x")
    assert first is not None
    assert first.counts["failed"] == 1
    content = json.loads(state.read_text())
    state.write_text(json.dumps({**content, seed_id(2): gone}))
    second = world.undo("x")
    assert second is not None
    assert (second.counts["failed"], world.titles()) == (0, world.original)


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3))])
def test_any_order_of_runs_and_undos_is_as_reported(seed: int, world: World) -> None:
    """Random steps; after each, every incident has the value that the step reports."""
    choose = random.Random(seed)  # noqa: S311  (steps of a test)
    before: dict[str, Titles] = {"x": world.original}
    printed = ""
    now, is_undone = world.original, False
    for step in range(8):
        kind = choose.choice(["run", "edit", "undo", "printed"])
        if kind in {"run", "edit"}:
            if kind == "edit" and not is_undone:
                world.edit(choose.randint(1, ROWS), f"Edited {step}")
            if is_undone:
                with pytest.raises(InputError, match="its run was undone"):
                    world.run()
            else:
                world.run()
                now, printed = world.wanted.copy(), "x"
        elif kind == "undo" or printed:
            name = "x" if kind == "undo" else printed
            if not world.report.exists():
                continue
            totals = world.undo(name)
            assert totals is not None
            if now != before[name]:
                printed = Path(totals.report).name.removesuffix(".report.csv")
                before[printed] = now
            now = before[name]
            is_undone = undone_by(world.report) is not None
            assert is_undone == (now == world.original)
        assert world.titles() == now, (seed, step, kind)
        if printed:
            report = world.folder / f"{printed}.report.csv"
            assert verify(report, world.options).is_right, (seed, step, kind)

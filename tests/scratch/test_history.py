"""History and its CSV file: the same bits back, and every wrong file named by its line."""

from pathlib import Path

import pytest

from scratch.history import History, HistoryError, Row, read_histories, write_histories

HEADER = "backend,epoch,train_loss,train_accuracy,val_loss,val_accuracy,seconds\n"
GOOD = "scratch,1,0.1,0.5,0.2,0.25,1.5\n"


def history(n: int = 3) -> History:
    return History(Row(e, 1 / 3 / e, 1 - 0.1 / e, 1e-300 * e, 0.1 + 0.2, 0.1 * e) for e in range(1, n + 1))


def test_what_is_written_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    write_histories(tmp_path / "history.csv", {"scratch": history(3), "torch": history(2)})
    back = read_histories(tmp_path / "history.csv")
    assert {name: h.rows for name, h in back.items()} == {"scratch": history(3).rows, "torch": history(2).rows}
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]


def test_no_epoch_yet_is_a_history_too(tmp_path: Path) -> None:
    write_histories(tmp_path / "h.csv", {"scratch": History()})
    assert read_histories(tmp_path / "h.csv") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "found 'an empty file' in line 1"),
        ("epoch,loss\n1,2\n", "found 'epoch,loss' in line 1, expected 'backend,epoch"),
        (HEADER + GOOD.replace("1.5", ""), "line 2: could not convert"),
        (HEADER + GOOD.replace(",1.5", ""), "line 2: found 6 cells, expected a backend and 6 numbers"),
        (HEADER + GOOD.replace("scratch", ""), "line 2: found 7 cells, expected a backend"),
        (HEADER + GOOD + "\n", "line 3: found 0 cells"),
        (HEADER + GOOD + GOOD, "line 3: found epoch 1, expected 2"),
        (HEADER + GOOD.replace("0.1,", "nan,"), "line 2: found train_loss nan in epoch 1, expected a finite number"),
        (HEADER + GOOD.replace("0.25", "1.25"), "line 2: found val_accuracy 1.25 in epoch 1, expected 0 to 1"),
        (HEADER + GOOD.replace("0.25", "-0.1"), "line 2: found val_accuracy -0.1 in epoch 1, expected 0 to 1"),
        (HEADER + GOOD.replace("1.5", "-1"), "line 2: found seconds -1.0 in epoch 1, expected at least 0"),
        (HEADER + GOOD.replace(",1,", ",1.0,"), "line 2: invalid literal"),
        (HEADER + GOOD.replace("0.1,", "1.7e308,"), r"line 2: found train_loss 1.7e\+308 .* of at most 1e\+300"),
        (HEADER + GOOD.replace("0.2,", "-1.7e308,"), r"line 2: found val_loss -1.7e\+308 .* of at most 1e\+300"),
        (HEADER + GOOD.replace("scratch", "s\x1b[2J"), r"line 2: found 's\\x1b\[2J' as a backend, expected at most 80"),
        (HEADER + GOOD.replace("scratch", "s" * 81), r"line 2: found 's{77}\.\.\.' as a backend"),
        (HEADER + GOOD.replace("0.1,", "\x1b[2J,"), r"line 2: could not convert string to float: '\\x1b\[2J'"),
        ("\x1b[2J" + "," * 999, r"found '\\x1b\[2J,+\.\.\.' in line 1"),
        (HEADER + " " * (1 << 23), "bytes, expected at most 8388608"),
        ('"', "found no CSV text"),
    ],
)
def test_a_wrong_file_is_refused_by_its_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "history.csv"
    path.write_text(content)
    with pytest.raises(HistoryError, match=message) as caught:
        read_histories(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_binary_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"none\.csv: cannot be read"):
        read_histories(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HistoryError, match=r"b\.csv: found no CSV text"):
        read_histories(tmp_path / "b.csv")


def test_only_known_columns_can_be_asked_for() -> None:
    assert history().column("epoch") == [1, 2, 3]
    with pytest.raises(HistoryError, match="found column 'loss', expected one of epoch, train_loss"):
        history().column("loss")

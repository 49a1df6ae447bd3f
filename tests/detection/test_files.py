import os

import pytest

from lossbench.detection import find_detector, save, write_bytes


def test_a_detector_is_found_itself_in_a_run_and_in_a_comparison_of_one(rx, tmp_path):
    folder = save(tmp_path / "runs" / "a-seed0" / "detector", rx)
    for place in (folder, folder.parent, tmp_path, str(tmp_path)):
        assert find_detector(place) == folder
    (tmp_path / "runs" / "b-seed0").mkdir()
    assert find_detector(tmp_path) == folder


def test_of_several_one_must_be_named(rx, tmp_path):
    for run in ("a-seed0", "a-seed1"):
        save(tmp_path / "runs" / run / "detector", rx)
    with pytest.raises(
        ValueError, match=r"2 runs hold a detector; name one .*\n.*a-seed0\n.*seed1"
    ):
        find_detector(tmp_path)


def test_where_there_is_none_it_is_said(tmp_path):
    (tmp_path / "compared" / "runs" / "a").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    for name, message in (
        ("compared", "none of its 1 runs holds a detector"),
        ("compared/runs/a", "not a saved detector"),
        ("file", "not a saved detector"),
    ):
        with pytest.raises(ValueError, match=message):
            find_detector(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_detector(tmp_path / "nowhere")


def test_bytes_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    assert write_bytes(tmp_path / "a", b"12").read_bytes() == b"12"
    assert write_bytes(tmp_path / "a", b"3").read_bytes() == b"3"

    def broken(*_):
        raise OSError("full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="full"):
        write_bytes(tmp_path / "a", b"4")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"3"

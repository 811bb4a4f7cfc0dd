"""The two batches in examples/, run as a reader would run them."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from describe import describe
from synth import make_clip
from waiting import until

EXAMPLES = Path(__file__).parents[2] / "examples"
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_season(tmp_path: Path) -> None:
    folder = tmp_path / "season" / "s01"
    folder.mkdir(parents=True)
    shutil.copy(EXAMPLES / "clip.mp4", folder / "e1.mp4")
    make_clip(folder / "e2.mkv", times=6, sound=True)
    shutil.copy(EXAMPLES / "season.toml", tmp_path)
    command = [sys.executable, "-m", "vidsr", "batch", "season.toml", "--preset", "ultrafast"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "2 jobs: 2 done" in done.stdout
    after, before = describe(tmp_path / "season_2x" / "s01" / "e1.mkv"), describe(folder / "e1.mp4")
    assert (after.size, after.pixel_format) == ((640, 360), "yuv420p10le")
    assert ("video", "hevc") in after.kinds
    assert after.sound == before.sound
    assert len(after.subtitles) == len(before.subtitles) == 1
    assert [chapter[2] for chapter in after.chapters] == ["Mountains", "The sign"]
    assert describe(tmp_path / "season_2x" / "s01" / "e2.mkv").sound == describe(folder / "e2.mkv").sound
    assert sorted(path.name for path in (tmp_path / "season_2x" / "s01").iterdir()) == ["e1.mkv", "e2.mkv"]
    assert (tmp_path / "season_2x" / ".vidsr-batch").is_dir()  # also for a second season, in another folder


@pytest.mark.slow
def test_watched_queue(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", times=6)
    command = ["sh", str(EXAMPLES / "watched_queue.sh"), "incoming", "done", "--backend", "nearest"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            until((tmp_path / "done" / ".vidsr-batch").exists, process)
            (tmp_path / "incoming" / "later").mkdir()
            for name in ("a.mkv", "later/b.mkv"):
                shutil.copy(clip, tmp_path / "incoming" / name)
            until((tmp_path / "done" / "later" / "b_2x.mp4").exists, process)
            until((tmp_path / "done" / "a_2x.mp4").exists, process)
            assert not (tmp_path / "done" / "clip_2x.mp4").exists()
        finally:
            process.send_signal(signal.SIGINT)
            try:
                _, said = process.communicate(timeout=60)
            finally:
                process.kill()  # or a queue that does not end would be waited for for ever
    assert process.returncode == 130, said
    assert "interrupted" in said
    left = [path.name for path in (tmp_path / "done").rglob("*") if path.name.endswith(".vidsr")]
    assert not left

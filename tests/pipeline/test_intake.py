"""The open batch: nothing is lost, reordered or unbounded."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.world import Socket
from tracker.pipeline import intake as module
from tracker.pipeline.intake import BATCH_BYTES, BATCH_FRAMES, MAX_BYTES, MAX_FRAMES, Intake


@given(st.lists(st.one_of(st.integers(0, 5), st.just("take")), max_size=40), st.integers(1, 4), st.integers(1, 12))
def test_frames_come_out_as_they_went_in(steps: list[object], batch_frames: int, batch_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH_FRAMES", batch_frames)
        patch.setattr(module, "BATCH_BYTES", batch_bytes)
        intake, sockets = Intake(), [Socket(), Socket()]
        put, taken = [], []
        for number, step in enumerate(steps):
            if step == "take":
                if not intake.empty:
                    batch = intake.take()
                    assert 0 < len(batch.frames) <= batch_frames
                    assert batch.bytes == sum(map(len, batch.frames))
                    assert sum(map(len, batch.frames[:-1])) < batch_bytes
                    taken += list(zip(batch.sources, batch.frames, strict=True))
            else:
                frame = b"%d:" % number + b"x" * int(str(step))
                source = sockets[number % 2].source
                intake.put(source, frame)
                put.append((source, frame))
            check(intake, put[len(taken) :])
        assert taken == put[: len(taken)]
        assert sum(socket.source.queued for socket in sockets) == len(put), "the answer takes them off, not the writer"


def check(intake: Intake, inside: Sequence[tuple[object, bytes]]) -> None:
    stats = intake.stats()
    assert (stats.frames, stats.bytes) == (len(inside), sum(len(frame) for _, frame in inside))
    assert intake.empty is (not inside)
    assert intake.arrived.is_set() is bool(inside)


def filled(frames: int, size: int) -> Intake:
    intake, source = Intake(), Socket().source
    for _ in range(frames):
        intake.put(source, b"x" * size)
    return intake


def test_a_batch_is_bounded_in_frames_and_bytes() -> None:
    assert len(filled(BATCH_FRAMES + 1, 1).take().frames) == BATCH_FRAMES
    assert len(filled(10, BATCH_BYTES // 2).take().frames) == 2


@pytest.mark.parametrize(("frames", "size"), [(MAX_FRAMES, 1), (MAX_BYTES // 2**20, 2**20)])
async def test_doors_wait_while_it_is_full_and_until_it_is_half_empty(frames: int, size: int) -> None:
    intake = filled(frames, size)
    assert intake.full
    waiting = asyncio.ensure_future(intake.wait_room())
    await asyncio.sleep(0)
    assert intake.stats().waiting_doors == 1
    while intake.stats().frames > frames // 2:
        assert not waiting.done()
        intake.take()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert waiting.done()
    assert intake.stats().waiting_doors == 0


async def test_a_door_that_gives_up_waiting_is_not_counted() -> None:
    intake = filled(MAX_FRAMES, 1)
    waiting = asyncio.ensure_future(intake.wait_room())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert intake.stats().waiting_doors == 0


async def test_a_closed_intake_is_full_for_good_but_gives_out_what_it_has() -> None:
    intake = filled(3, 1)
    intake.close()
    waiting = asyncio.ensure_future(intake.wait_room())
    assert len(intake.take().frames) == 3
    await asyncio.sleep(0)
    assert intake.full
    assert intake.empty
    assert not waiting.done()
    waiting.cancel()


async def test_an_intake_that_is_held_takes_nothing_but_gives_out_what_it_has() -> None:
    intake = filled(2, 1)
    intake.hold(True)
    assert intake.full
    waiting = asyncio.ensure_future(intake.wait_room())
    intake.take()
    await asyncio.sleep(0)
    assert intake.full
    assert not waiting.done()
    intake.hold(False)
    await waiting
    assert not intake.full

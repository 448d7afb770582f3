"""The passes over a clip, with a network that sees colours and can forget, run out of memory or doubt itself."""

from __future__ import annotations

import sys
import weakref

import numpy as np
import pytest

from tests.fakes import COLOUR_OF, squares_film
from vpdata import models
from vpdata.config import ModelChoice
from vpdata.errors import BackendError, Reason, RejectItem
from vpdata.media.masks import decode_masks
from vpdata.models.ports import BoxPrompt

torch = pytest.importorskip("torch")

from vpdata.models.sam2_bank import Memory, Seen
from vpdata.models.sam2_settings import Sam2Settings
from vpdata.models.sam2_tracker import MEAN, STD, Sam2Tracker

SIDE = 64
SIZE = {"height_px": SIDE, "width_px": SIDE, "seed": 0}
GROUND = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)


class ColourNetwork:
    """A `Network` that remembers the mean colour in a box and finds what has it.

    Its doubt grows by 1 a frame with the distance from the nearest prompt behind it: after `endurance` frames it sees
    nothing any more. It counts what it is asked for and what others still hold of its answers.
    """

    image_size_px = SIDE
    device = torch.device("cpu")
    num_pointers = 4

    def __init__(self, *, endurance: float = 1000.0, capacity: int = 100) -> None:
        self.endurance = endurance
        self.capacity = capacity
        self.batch_sizes: list[int] = []
        self.num_prompted: list[int] = []
        self.frames_encoded = 0
        self._given: list[weakref.ref] = []
        self.most_held = 0

    def encode(self, pixels):
        self._check(len(pixels))
        self.frames_encoded += len(pixels)
        mean, std = torch.tensor(MEAN), torch.tensor(STD)
        colours = (pixels.permute(0, 2, 3, 1) * std + mean) * 255
        return [self._counted(one.clone()) for one in colours]

    def look(self, features, wanted, *, at):
        self._check(len(wanted))
        assert len({one.bank.frames() for one in wanted}) == 1
        self.batch_sizes.append(len(wanted))
        return [self._seen(features, one, at) for one in wanted]

    def _seen(self, colours, wanted, at):
        bank = wanted.bank
        self.num_prompted.append(len(bank.prompted))
        if wanted.box is not None:
            x0, y0, x1, y1 = (round(edge) for edge in wanted.box)
            colour = colours[y0:y1, x0:x1].reshape(-1, 3).median(dim=0).values
            distance = 0
        else:
            colour = next(iter(bank.prompted.values())).pointer
            distance = min(abs(at.frame - frame) for frame in bank.prompted)
        logits = 70 - (colours - colour).abs().amax(dim=-1)
        score = torch.tensor(float(self.endurance - distance) if (logits > 0).any() else -5.0)
        memory = Memory(features=self._counted(torch.zeros(1, 1, 1)), pointer=colour)
        return Seen(logits=torch.where(score > 0, logits, -1024.0), score=score, memory=memory)

    def _check(self, num_items):
        if num_items > self.capacity:
            raise torch.OutOfMemoryError("CUDA out of memory")

    def _counted(self, tensor):
        self._given = [one for one in self._given if one() is not None] + [weakref.ref(tensor)]
        self.most_held = max(self.most_held, len(self._given))
        return tensor


def tracker(network=None, **settings):
    return Sam2Tracker(network or ColourNetwork(), Sam2Settings(device="cpu", dtype="float32", **settings))


def moving(num_frames, *, x0=2, y0=4, step=2, shown=range(1000)):
    return [
        (x0 + step * frame, y0, x0 + step * frame + 12, y0 + 12) if frame in shown else None
        for frame in range(num_frames)
    ]


def film(**boxes):
    return squares_film({f"{colour} square": of_frame for colour, of_frame in boxes.items()}, ground=GROUND)


def prompt(boxes, frame):
    return BoxPrompt(frame=frame, box=boxes[frame], label="square")


def drawn(boxes):
    masks = np.zeros((len(boxes), SIDE, SIDE), dtype=bool)
    for mask, box in zip(masks, boxes, strict=True):
        if box is not None:
            x0, y0, x1, y1 = box
            mask[y0:y1, x0:x1] = True
    return masks


def masks_of(found):
    return decode_masks(found.counts, height_px=SIDE, width_px=SIDE)


def is_present(found):
    return [counts is not None for counts in found.counts]


RED, BLUE = moving(12), moving(12, x0=40, y0=30, step=-2)


@pytest.mark.parametrize(("red_at", "blue_at"), [(0, 0), (11, 11), (5, 5), (3, 8), (8, 3), (0, 11)])
def test_objects_are_followed_to_both_ends_from_wherever_their_boxes_are(red_at, blue_at):
    found = tracker().track(film(red=RED, blue=BLUE), [prompt(RED, red_at), prompt(BLUE, blue_at)], **SIZE)
    assert (masks_of(found[0]) == drawn(RED)).all()
    assert (masks_of(found[1]) == drawn(BLUE)).all()


def test_objects_prompted_on_one_frame_share_every_batch():
    network = ColourNetwork()
    tracker(network).track(film(red=RED, blue=BLUE), [prompt(RED, 5), prompt(BLUE, 5)], **SIZE)
    assert network.batch_sizes == [2] * 12
    assert network.frames_encoded == 12


def test_object_that_appears_late_is_absent_before():
    late = moving(12, shown=range(7, 12))
    (found,) = tracker().track(film(red=late), [prompt(late, 9)], **SIZE)
    assert is_present(found) == [frame >= 7 for frame in range(12)]


def test_object_that_leaves_at_once_is_held_on_its_own_frame_alone():
    one_frame = moving(12, shown=[4])
    found = tracker().track(film(red=one_frame, blue=BLUE), [prompt(one_frame, 4), prompt(BLUE, 4)], **SIZE)
    assert is_present(found[0]) == [frame == 4 for frame in range(12)]
    assert all(is_present(found[1]))


def test_score_is_the_mean_over_the_frames_that_hold_the_object():
    shown = moving(5, shown=[1, 2, 3])
    (found,) = tracker(ColourNetwork(endurance=2.0)).track(film(red=shown), [prompt(shown, 1)], **SIZE)
    logits = np.array([2.0, 1.0])  # on frames 1 and 2; on frame 3 the network has forgotten it
    assert found.score == pytest.approx((1 / (1 + np.exp(-logits))).mean())


@pytest.mark.parametrize(
    "box", [(10.0, 10.0, 10.0, 20.0), (10.0, 10.0, 5.0, 5.0), (-9.0, 0.0, 0.0, 9.0), (SIDE, 0.0, SIDE + 9.0, 9.0)]
)
def test_box_without_area_in_the_frame_is_an_absent_object_and_harms_no_other(box):
    nothing = BoxPrompt(frame=0, box=box, label="nothing")
    found = tracker().track(film(red=RED), [nothing, prompt(RED, 3), nothing], **SIZE)
    assert [any(is_present(one)) for one in found] == [False, True, False]
    assert [one.score > 0 for one in found] == [False, True, False]
    assert (masks_of(found[1]) == drawn(RED)).all()


@pytest.mark.parametrize("frame", [-1, 12])
def test_prompt_outside_the_clip_is_refused(frame):
    with pytest.raises(ValueError, match=f"frame {frame}.*12 frames"):
        tracker().track(film(red=RED), [BoxPrompt(frame=frame, box=RED[0], label="")], **SIZE)


def test_masks_are_resized_to_the_clip_and_boxes_to_the_network():
    large = {"height_px": 2 * SIDE, "width_px": 3 * SIDE, "seed": 0}
    box = tuple(edge * scale for edge, scale in zip(RED[5], (3, 2, 3, 2), strict=True))
    (found,) = tracker().track(film(red=RED), [BoxPrompt(frame=5, box=box, label="")], **large)
    masks = decode_masks(found.counts, height_px=2 * SIDE, width_px=3 * SIDE)
    true = drawn(RED).repeat(2, axis=1).repeat(3, axis=2)
    # Bilinear logits move an edge by less than a pixel of the network's.
    assert (masks & true).sum() / (masks | true).sum() > 0.8


def test_shared_pixels_belong_to_both_objects_or_to_the_higher_logit():
    # Two shades of red so near that each tracker also covers the other object, less surely.
    frames = np.broadcast_to(GROUND, (4, SIDE, SIDE, 3)).copy()
    frames[:, 10:30, 5:25] = (220, 30, 30)
    frames[:, 10:30, 35:55] = (220, 60, 30)
    prompts = [
        BoxPrompt(frame=1, box=(5.0, 10.0, 25.0, 30.0), label="a"),
        BoxPrompt(frame=3, box=(35.0, 10.0, 55.0, 30.0), label="b"),
    ]
    allowed = [masks_of(one) for one in tracker(overlap="allow").track(frames, prompts, **SIZE)]
    left, right = (masks_of(one) for one in tracker(overlap="exclusive").track(frames, prompts, **SIZE))
    assert (allowed[0] & allowed[1]).sum() == 4 * 2 * 400
    assert left[:, 10:30, 5:25].all()
    assert right[:, 10:30, 35:55].all()
    assert left.sum() == right.sum() == 4 * 400


def test_second_prompt_holds_an_object_that_would_be_lost():
    boxes = moving(20)
    frames = film(red=boxes)
    lost = tracker(ColourNetwork(endurance=4.5)).track(frames, [prompt(boxes, 8)], **SIZE)[0]
    assert is_present(lost) == [abs(frame - 8) <= 4 for frame in range(20)]
    network = ColourNetwork(endurance=4.5)
    held = tracker(network, reprompt_below=0.9).track(frames, [prompt(boxes, 8)], **SIZE)[0]
    assert (masks_of(held) == drawn(boxes)).all()
    assert max(network.num_prompted) == 2


def test_object_lost_right_after_its_own_prompt_is_not_prompted_again():
    network = ColourNetwork(endurance=0.5)
    (found,) = tracker(network, reprompt_below=0.5).track(film(red=RED), [prompt(RED, 4)], **SIZE)
    assert is_present(found) == [frame == 4 for frame in range(12)]
    assert len(network.batch_sizes) == 12


def test_object_that_is_gone_is_prompted_again_at_most_once():
    gone = moving(20, shown=range(8))
    network = ColourNetwork()
    (found,) = tracker(network, reprompt_below=0.5).track(film(red=gone), [prompt(gone, 2)], **SIZE)
    assert is_present(found) == [frame < 8 for frame in range(20)]
    assert len(network.batch_sizes) == 20 + 2  # the prompt on frame 7 and the second look at frame 8


def test_length_of_a_clip_does_not_matter_for_what_is_held():
    held = []
    for num_frames in (60, 200):
        boxes = {"red": moving(num_frames, step=0), "blue": moving(num_frames, x0=40, step=0)}
        network = ColourNetwork()
        prompts = [prompt(boxes["red"], 20), prompt(boxes["blue"], 40)]
        tracker(network, batch_size=4).track(film(**boxes), prompts, **SIZE)
        held.append(network.most_held)
    # Two batches of features at a change of batches; memories near the prompt and near the present frame.
    assert held[0] == held[1] <= 2 * 4 + 2 * (1 + 3 + 2 * 4)


def test_objects_that_exclude_each_other_wait_without_their_memories():
    held = []
    for num_frames in (60, 200):
        boxes = {"red": moving(num_frames, step=0), "blue": moving(num_frames, x0=40, step=0)}
        network = ColourNetwork()
        prompts = [prompt(boxes["red"], 2), prompt(boxes["blue"], num_frames - 3)]
        tracker(network, batch_size=4, overlap="exclusive").track(film(**boxes), prompts, **SIZE)
        held.append(network.most_held)
    assert held[0] == held[1]


def test_batch_that_the_gpu_cannot_hold_is_halved():
    network = ColourNetwork(capacity=1)
    frames, prompts = film(red=RED, blue=BLUE), [prompt(RED, 5), prompt(BLUE, 5)]
    assert tracker(network).track(frames, prompts, **SIZE) == tracker().track(frames, prompts, **SIZE)
    assert set(network.batch_sizes) == {1}


def test_clip_that_the_gpu_cannot_hold_at_all_is_rejected():
    with pytest.raises(RejectItem) as caught:
        tracker(ColourNetwork(capacity=0)).track(film(red=RED), [prompt(RED, 5)], **SIZE)
    assert caught.value.reason is Reason.GPU_MEMORY


def test_specks_and_holes_are_cleaned_by_the_given_fractions():
    frames = film(red=[(10, 10, 40, 40)] * 2)
    frames[:, 20, 20] = GROUND[0, 0]
    frames[:, 50, 50] = COLOUR_OF["red square"]
    box = BoxPrompt(frame=0, box=(10.0, 10.0, 40.0, 40.0), label="")
    raw, clean = (
        masks_of(tracker(min_part_frac=frac, min_hole_frac=frac).track(frames, [box], **SIZE)[0])
        for frac in (0.0, 0.01)
    )
    assert raw[0].sum() == 30 * 30
    assert not raw[0, 20, 20]
    assert raw[0, 50, 50]
    assert (clean == drawn([(10, 10, 40, 40)] * 2)).all()


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "vpdata.models.sam2_package", raising=False)
    monkeypatch.setitem(sys.modules, "sam2.build_sam", None)
    # Without the second variable newer versions of pip build it against the newest torch with CUDA.
    command = r"PIP_CONSTRAINT=(\S+) PIP_BUILD_CONSTRAINT=\1 SAM2_BUILD_CUDA=0 pip install -c \1 -e '\.\[sam2\]'"
    with pytest.raises(BackendError, match=command):
        models.maker("mask_tracker", ModelChoice(name="sam2-package"))()


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"reprompt_below": 1.5}, {"min_part_frac": -0.1}, {"min_hole_frac": 2.0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sam2Settings(**wrong)

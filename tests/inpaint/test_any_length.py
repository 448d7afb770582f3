from itertools import pairwise

import numpy as np
import pytest

from vpdata.errors import ConfigError
from vpdata.inpaint.any_length import MadeWindow, Request, inpaint_any_length
from vpdata.inpaint.windows import Window, plan_windows


def video_of(num_frames: int) -> np.ndarray:
    """Every frame differs from every other, and every pixel says which frame it is of."""
    frames = np.zeros((num_frames, 2, 3, 3), np.uint8)
    frames[..., 0] = np.arange(num_frames)[:, None, None]
    frames[..., 1] = 255 - np.arange(num_frames)[:, None, None]
    return frames


class Identity:
    """Gives back what it is given, and keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def inpaint(self, request: Request) -> np.ndarray:
        self.requests.append(request)
        return request.frames.copy()


class Painter(Identity):
    """Paints the hole with its number, different in every window."""

    def inpaint(self, request: Request) -> np.ndarray:
        out = super().inpaint(request)
        out[request.mask] = 100 + 10 * request.window.index
        return out


def output_of(made: list[MadeWindow], num_frames: int) -> np.ndarray:
    """The video: of each window the frames that no later one makes again."""
    following = [window.window.start for window in made[1:]] + [num_frames]
    return np.concatenate([one.frames[: stop - one.window.start] for one, stop in zip(made, following, strict=True)])


def run(model: Identity, video: np.ndarray, mask: np.ndarray, windows: list[Window]) -> np.ndarray:
    return output_of(list(inpaint_any_length(model, iter(video), iter(mask), windows)), len(video))


@pytest.mark.parametrize("overlap", [1, 5, 9, 13])
def test_identity_gives_every_frame_of_every_length_back_in_its_place(overlap):
    for num_frames in range(1, 201):
        video = video_of(num_frames)
        windows = plan_windows(num_frames, window_frames=17, overlap_frames=overlap, stride_t=4)
        out = run(Identity(), video, np.ones(video.shape[:3], bool), windows)
        assert np.array_equal(out, video), num_frames


@pytest.mark.parametrize("overlap", [1, 5, 9, 13])
def test_windows_cover_every_frame_and_none_is_cut_short(overlap):
    for num_frames in range(17, 201):
        windows = plan_windows(num_frames, window_frames=17, overlap_frames=overlap, stride_t=4)
        assert {len(window) for window in windows} == {17}
        assert (windows[0].start, windows[-1].stop) == (0, num_frames)
        for before, after in pairwise(windows):
            assert after.num_shared == before.stop - after.start >= overlap
            assert after.num_known % 4 == 1
            assert 0 <= after.num_shared - after.num_known < 4


def test_window_gets_as_known_what_the_one_before_made():
    video = video_of(30)
    mask = np.zeros(video.shape[:3], bool)
    mask[:, 0, 1] = True
    model = Painter()
    run(model, video, mask, plan_windows(30, window_frames=17, overlap_frames=5, stride_t=4))
    first, second, _ = model.requests
    assert first.previous is None
    assert not first.mask[:, 0, 0].any()
    assert first.mask[:, 0, 1].all()
    assert second.window.start == 12
    assert (second.frames[:5, 0, 1] == 100).all()
    assert np.array_equal(second.frames[:5, 1], video[12:17, 1])
    assert not second.mask[:5].any()
    assert second.mask[5:, 0, 1].all()
    assert second.previous is not None
    assert second.previous.window.index == 0


def test_overlap_fades_from_one_window_to_the_next():
    video = video_of(29)
    mask = np.ones(video.shape[:3], bool)

    class Blind(Painter):
        """Paints everything, known or not."""

        def inpaint(self, request: Request) -> np.ndarray:
            return np.full_like(request.frames, 100 + 60 * request.window.index)

    out = run(Blind(), video, mask, plan_windows(29, window_frames=17, overlap_frames=5, stride_t=4))
    assert out[:, 0, 0, 0].tolist() == [100] * 12 + [110, 120, 130, 140, 150] + [160] * 12


def test_window_without_a_hole_is_not_given_to_the_model():
    video = video_of(60)
    mask = np.zeros(video.shape[:3], bool)
    mask[50, 0, 0] = True
    model = Painter()
    out = run(model, video, mask, plan_windows(60, window_frames=17, overlap_frames=5, stride_t=4))
    # The last window, [43, 60), gets frame 50 as known.
    assert [request.window.stop for request in model.requests] == [53]
    assert np.array_equal(out[:48], video[:48])


def test_stream_that_ends_early_is_named():
    windows = plan_windows(20, window_frames=17, overlap_frames=5, stride_t=4)
    with pytest.raises(ConfigError, match="the mask ends at frame 19, wanted 20"):
        run(Identity(), video_of(20), np.ones((19, 2, 3), bool), windows)


@pytest.mark.parametrize(("overlap", "window"), [(4, 17), (0, 17), (17, 17)])
def test_overlap_off_the_grid_of_the_codec_is_refused(overlap, window):
    with pytest.raises(ConfigError, match="wanted 4k"):
        plan_windows(40, window_frames=window, overlap_frames=overlap, stride_t=4)

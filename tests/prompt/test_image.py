import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade.core.errors import PromptError
from saccade.prompt import Grid, center_crop, encode, region

IMAGE = 9


def ids(*tokens):
    return torch.tensor([tokens])


@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)),
    st.tuples(*[st.integers(0, 1)] * 3),
    st.lists(st.integers(0, 60), min_size=4, max_size=4),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_region_is_the_pixels_counted_one_by_one(shape, extra, corners, least):
    rows, cols, merge = shape
    before, row_end, after = extra
    cell = 10
    height, width = rows * cell, cols * cell
    left, right = sorted(corner % (width + 1) for corner in corners[:2])
    top, bottom = sorted(corner % (height + 1) for corner in corners[2:])
    grid = Grid(rows * merge, cols * merge, merge=merge, before=before, row_end=row_end, after=after)
    wanted = [False] * before
    for row in range(rows):
        for col in range(cols):
            pixels = sum(
                left <= x < right and top <= y < bottom
                for x in range(col * cell, (col + 1) * cell)
                for y in range(row * cell, (row + 1) * cell)
            )
            wanted.append(pixels > 0 and pixels >= least * cell * cell)
        wanted += [False] * row_end
    wanted += [False] * after
    assert grid.tokens == len(wanted)
    sequence = [1, 2, *[IMAGE] * len(wanted), 3]
    arguments = {"size": (height, width), "least": least}
    if not any(wanted):
        with pytest.raises(PromptError):
            region(ids(*sequence), IMAGE, grid, (left, top, right, bottom), **arguments)
        return
    member = region(ids(*sequence), IMAGE, grid, (left, top, right, bottom), **arguments)
    assert member.tolist() == [[False, False, *wanted, False]]


def test_several_images_frames_and_separators():
    box = (0, 0, 0.5, 1)
    two = ids(IMAGE, IMAGE, 5, IMAGE, IMAGE, IMAGE, IMAGE)
    grids = [Grid(1, 2), Grid(2, 2)]
    assert region(two, IMAGE, grids, box).nonzero()[:, 1].tolist() == [0]
    assert region(two, IMAGE, grids, box, image=1).nonzero()[:, 1].tolist() == [3, 5]
    alike = ids(*[IMAGE] * 4)
    assert region(alike, IMAGE, Grid(1, 2), box, image=1).nonzero()[:, 1].tolist() == [2]
    video = ids(*[IMAGE] * 8)
    assert region(video, IMAGE, Grid(2, 2, frames=2), (0, 0, 0.5, 0.5)).nonzero()[:, 1].tolist() == [0, 4]
    broken_rows = ids(IMAGE, IMAGE, 7, IMAGE, IMAGE, 7)
    assert region(broken_rows, IMAGE, Grid(2, 2), (0, 0.5, 1, 1)).nonzero()[:, 1].tolist() == [3, 4]


def test_batch_and_left_padding():
    batch = torch.tensor([[0, 0, IMAGE, IMAGE, 4], [1, 2, IMAGE, IMAGE, 3]])
    assert region(batch, IMAGE, Grid(1, 2), (0, 0, 0.5, 1)).nonzero().tolist() == [[0, 2], [1, 2]]
    assert region(batch, IMAGE, Grid(1, 2), (0, 0, 0.5, 1), sample=1).nonzero().tolist() == [[1, 2]]
    assert region(batch[0], IMAGE, Grid(1, 2), (0, 0, 0.5, 1)).shape == (1, 5)


def test_center_crop():
    assert center_crop((0, 0, 100, 100), (100, 100)) == (0, 0, 1, 1)
    assert center_crop((0, 75, 40, 100), (160, 80)) == pytest.approx((0, 0.4375, 0.5, 0.75))
    with pytest.raises(PromptError, match="outside the central square"):
        center_crop((0, 0, 40, 100), (100, 200))


def test_prompt_with_an_image_region(chatty):
    p = encode(chatty, "<image>" * 4 + " what is [[thing|this]]?", image_token="<image>")
    assert p.tokens_of("image") == ("<image>",) * 4
    left = region(p.input_ids, chatty.convert_tokens_to_ids("<image>"), Grid(2, 2), (0, 0, 0.5, 1))
    q = p.with_spans({"left": left})
    assert q.spans["left"].sum() == 2
    assert (q.spans["left"] <= q.spans["image"]).all()
    assert q.spans.names == ("thing", "image", "bos", "prompt", "left")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Grid(0, 2), "positive rows"),
        (lambda: Grid(3, 2, merge=2), "does not divide"),
        (lambda: region(ids(IMAGE, IMAGE), IMAGE, Grid(2, 2), (0, 0, 1, 1)), "has 2 image tokens.*a multiple of 4"),
        (lambda: region(ids(1, 2), IMAGE, Grid(2, 2), (0, 0, 1, 1)), "has 0 image tokens"),
        (lambda: region(ids(IMAGE), IMAGE, [Grid(1, 1)] * 2, (0, 0, 1, 1)), "has 1 image tokens.*need 2"),
        (lambda: region(ids(IMAGE), IMAGE, Grid(1, 1), (0, 0, 1, 1), image=1), "has no image 1"),
        (lambda: region(ids(IMAGE), IMAGE, Grid(1, 1), (0, 0, 1, 1), sample=1), "no sample 1"),
        (lambda: Grid(2, 2).inside((0, 0, 30, 40)), r"pass size=\(height, width\)"),
        (lambda: Grid(2, 2).inside((0, 0, 30, 40), size=(20, 60)), "outside a 20 x 60 image"),
        (lambda: Grid(2, 2).inside((0.5, 0, 0.5, 1)), "is empty"),
        (lambda: Grid(2, 2).inside((0, 0, 0.1, 0.1), least=0.5), "to the share 0.5"),
        (lambda: Grid(2, 2).inside((0, 0, 1, 1), least=2), "from 0 to 1"),
        (lambda: Grid(2, 2).inside((0, 0, 1)), "left, top, right, bottom"),
    ],
)
def test_wrong_regions(call, message):
    with pytest.raises(PromptError, match=message):
        call()

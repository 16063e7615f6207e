"""The example that edits images of digits, with a training far too short to be good."""

import struct

import numpy as np
import pytest
from PIL import Image
from test_label_evaluation import import_script

from sklgan.blobs import blob_dtype

example = import_script("edit_digits")


@pytest.fixture
def mnist(tmp_path):
    """Return a folder like MNIST's, of 40 bars in each part."""
    images = np.zeros((40, 28, 28), dtype=np.uint8)
    images[:, 8:20, 10:14] = 255
    for part in ("train", "t10k"):
        header = struct.pack(">4I", 0x803, 40, 28, 28)
        path = tmp_path / f"{part}-images-idx3-ubyte"
        path.write_bytes(header + images.tobytes())
        path = tmp_path / f"{part}-labels-idx1-ubyte"
        path.write_bytes(struct.pack(">2I", 0x801, 40) + bytes(40))
    return tmp_path


def test_it_writes_pictures_and_trains_once(mnist, tmp_path, capsys):
    """The film has all places of the circle; the same command trains no further."""
    output = tmp_path / "output"
    options = "--images 24 --max-epochs 1 --encoder-epochs 1 --refine 1".split()
    command = [f"--data={mnist}", f"--output={output}", *options]
    example.main(command)
    assert "100%" in capsys.readouterr().err
    for name in ("found.png", "edited.png"):
        assert np.ptp(np.asarray(Image.open(output / name))) > 0
    with Image.open(output / "moving.gif") as film:
        assert film.n_frames > 1
        assert film.size == (3 * 64, 3 * 64)
    example.main(command)
    assert "100%" not in capsys.readouterr().err


def test_each_edit_is_of_the_chosen_blob():
    """Moves go inward along the longer way; looks are those of the image before."""

    class Recorder:
        def render(self, B):
            return B

    B = np.zeros(2, dtype=blob_dtype(2, 3, 3))
    B["aspect"] = 1.0
    B["x"], B["y"] = [[0.1, 0.5], [0.5, 0.5]], [[0.4, 0.5], [0.5, 0.9]]
    B["size"], B["feature"] = 0.5, np.arange(12).reshape(2, 2, 3)
    rows = example.edit_each(Recorder(), B, [0, 1])
    np.testing.assert_allclose(rows["moved"]["x"][:, 0], [0.1 + example.STEP, 0.5])
    np.testing.assert_allclose(rows["moved"]["y"][:, 1], [0.5, 0.9 - example.STEP])
    assert (rows["removed"]["size"] == [[0, 0.5], [0.5, 0]]).all()
    assert (rows["larger"]["size"] > rows["painted"]["size"]).sum() == 2
    np.testing.assert_array_equal(
        rows["restyled"]["feature"][[0, 1], [0, 1]], B["feature"][[1, 0], [1, 0]]
    )

"""Images in the files and tables that users have, for tests."""

import io
import json

import pyarrow
from PIL import Image
from pyarrow import parquet


def encode(image):
    """Return the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def write_parquet(path, images, y=None, **options):
    """Write images as Hugging Face's package does, with its metadata."""
    cells = [{"bytes": encode(x), "path": f"{i}.png"} for i, x in enumerate(images)]
    columns = {"image": cells} if y is None else {"image": cells, "label": y}
    features = {"info": {"features": {"image": {"_type": "Image"}}}}
    table = pyarrow.table(columns)
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    parquet.write_table(table, path, **options)
    return path


class Dataset:
    """The part of a Hugging Face Dataset that is in use; rows are dicts."""

    def __init__(self, **columns):
        self.values, self.features = columns, dict.fromkeys(columns)
        self.column_names = list(columns)

    def __len__(self):
        return len(self.values[self.column_names[0]])

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.values[key]
        if isinstance(key, list):
            return {
                name: [self._decoded(values[k]) for k in key]
                for name, values in self.values.items()
            }
        return {
            name: self._decoded(values[key]) for name, values in self.values.items()
        }

    def _decoded(self, value):
        return Image.open(io.BytesIO(value)) if isinstance(value, bytes) else value

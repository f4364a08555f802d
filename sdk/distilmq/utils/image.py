"""Images as text, which is how models are sent them and how they give them."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


def image_to_str(image: Image.Image, image_format: str = "JPEG") -> str:
    """An image as base64 text."""
    written = io.BytesIO()
    image.save(written, format=image_format)
    return base64.b64encode(written.getvalue()).decode("ascii")


def image_from_str(image: str) -> Image.Image:
    """The image in base64 text."""
    from PIL import Image

    return Image.open(io.BytesIO(base64.b64decode(image)))

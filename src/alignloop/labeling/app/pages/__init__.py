"""The contract between the server and the face: what each page is made from, and what its forms send back.

One frozen dataclass per page. Its docstring names the address (a key of `paths.PATHS`), every field that its forms
send and every action; `render.render(page, view)` makes the HTML. All text fields are plain text and escaped on the way
out; HTML comes in as `markupsafe.Markup` alone, sanitised by whoever made it. Times are UTC.

Nothing needs JavaScript: forms are POSTed, and answered by 303 to a page, or by the same page with `errors` (422).
"""

from __future__ import annotations

from alignloop.labeling.app.pages import common, labeler, quality, researcher, tasks

WORDS: dict[str, tuple[str, ...]] = {
    **common.WORDS,
    **tasks.WORDS,
    **labeler.WORDS,
    **researcher.WORDS,
    **quality.WORDS,
}
"""Prefix in the catalogue -> the names that have words there."""

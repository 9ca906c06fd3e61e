"""Which of a project's prompts leave it, and with what."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from alignloop.config import Config
from alignloop.data.curation.demonstrations import MAX_TOKENS
from alignloop.data.incoming import Kind

ExportKind = Literal["prompts", "demonstrations", "rankings"]


class PromptsExportConfig(Config):
    """What is exported; which side a prompt is on was decided when it was imported."""

    kind: ExportKind
    """`prompts` (to be answered), `demonstrations` (answers of people that came with prompts, and few-shot examples) or
    `rankings` (comparisons that came with prompts)."""
    sources: tuple[Kind, ...] = ()
    """Kinds of prompts that leave, as ["customer"]; all where none is named."""
    rankings: float = Field(default=0.4, gt=0, lt=1)
    """For prompts: share of the training users whose prompts get completions to rank; the rest are RL prompts. As in
    `alignloop data import`, a hash of the name decides."""
    labelers_in_rl: bool = False
    """For prompts: whether those that labelers wrote may be RL prompts. In the paper none is (Table 6); without this
    they all go to `rankings`."""
    exclude: tuple[Literal["demonstrations", "rankings"], ...] = ("demonstrations", "rankings")
    """For prompts: RL prompts are none of those that have a demonstration, or a ranking, from a file or by a labeler,
    so that step 3 asks what steps 1 and 2 did not see."""
    flagged: bool = True
    """Whether prompts of valid and test leave that hold personal data. Of the training side they never do."""
    model_answers: bool = True
    """For demonstrations: whether an answer counts that a model wrote, as its row says."""
    max_tokens: int = Field(default=MAX_TOKENS, ge=1)
    """For demonstrations: longer answers are left out (appendix C), as are empty ones and repetitions."""
    few_shot_sets: int = Field(default=0, ge=0)
    """For demonstrations: further ones from each few-shot prompt, with other sets of its examples before the query,
    drawn at random (appendix A.3)."""
    few_shot_size: int = Field(default=2, ge=0)
    """Examples in such a set, or as many as there are."""
    seed: int = 1
    """Draws those sets."""

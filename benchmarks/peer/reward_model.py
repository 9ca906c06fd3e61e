"""Our reward models as TRL's PPO reads them, and the scores that it reads there.

python -m benchmarks.peer.reward_model '{"folder": ..., "policy": ..., "texts": ...}'
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from trl.experimental.ppo import ppo_trainer

from benchmarks.job import reply
from benchmarks.peer.trainer import PACKAGES, scalar_model, tokenizer

ROWS = 50


def with_bias(folder: Path) -> transformers.PreTrainedModel:
    """A reward model whose logits are the scores: its head gets the bias that the config carries."""
    model = scalar_model(folder)
    head = torch.nn.Linear(model.score.in_features, 1)
    with torch.no_grad():
        head.weight.copy_(model.score.weight)
        head.bias.fill_(model.config.reward_bias)
    model.score = head
    return model


@torch.no_grad()
def scores(folder: Path, policy: Path, texts: list[list[list[int]]]) -> list[float]:
    """Of prompts and responses as tokens, in the layout and by the functions of the trainer."""
    judge, words = with_bias(folder).eval(), tokenizer(policy, padding_side="left")
    found: list[float] = []
    for at in range(0, len(texts), ROWS):
        rows = texts[at : at + ROWS]
        queries = words.pad({"input_ids": [p for p, _ in rows]}, return_tensors="pt")["input_ids"]
        widest = max(len(response) for _, response in rows)
        drawn = torch.tensor([r + [words.pad_token_id] * (widest - len(r)) for _, r in rows])
        ended = ppo_trainer.truncate_response(words.eos_token_id, words.pad_token_id, drawn)
        whole = torch.cat((queries, ended), 1)
        _, part, _ = ppo_trainer.get_reward(judge, whole, words.pad_token_id, queries.shape[1])
        found += part.tolist()
    return found


def main() -> None:
    """Score the texts of a file."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    texts = json.loads(Path(given["texts"]).read_text(encoding="utf-8"))["texts"]
    found = scores(Path(given["folder"]), Path(given["policy"]), texts)
    reply({"scores": found}, PACKAGES)


if __name__ == "__main__":
    main()

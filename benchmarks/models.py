"""The inputs of a benchmark, written once to a folder and read by both sides: weights, tokenizer, rows.

model/           a language model from a fixed seed, in Hugging Face's layout
reward-model/    the same trunk with a scalar head, for PPO
rankings/ ...    artefacts, as the package's stages read them
rows.json        the same rows as the tokens that our formatter makes of them, for the peers
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from alignloop.data.batches import epoch_order
from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records, write_records
from alignloop.data.records import Completion, Demonstration, Prompt, Ranking
from alignloop.data.tokenizer import SPECIAL_TOKENS
from alignloop.models.loading import load_tokenizer, save_model, wrap_tokenizer
from alignloop.models.reward_model import ScalarModel
from alignloop.resources import asset
from alignloop.runs.artifact import Kind, open_artifact, write_artifact
from alignloop.workflow.stages import config_class, run_stage
from benchmarks.job import ANSWER, Shape

SEED = 1
VALIDATED = 2
"""Rows of every validation file: a stage validates at its end, after the timed steps."""


def new_model(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A freshly initialised model: the same weights for the same shape."""
    common: dict[str, Any] = {
        "vocab_size": shape.vocabulary,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": True,
    }
    llama_like = {
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "intermediate_size": shape.intermediate,
        "max_position_embeddings": shape.context,
    }
    match shape.arch:
        case "llama":
            config = transformers.LlamaConfig(**llama_like, **common)
        case "qwen3":
            head_dim = shape.hidden // shape.heads
            config = transformers.Qwen3Config(**llama_like, head_dim=head_dim, **common)
        case "gpt2":
            config = transformers.GPT2Config(
                n_embd=shape.hidden,
                n_layer=shape.layers,
                n_head=shape.heads,
                n_inner=shape.intermediate,
                n_positions=shape.context,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                **common,
            )
        case _:
            raise ValueError(f"no such architecture: {shape.arch}")
    torch.manual_seed(SEED)
    return AutoModelForCausalLM.from_config(config)


def word_tokenizer(shape: Shape) -> PreTrainedTokenizerFast:
    """One token per word, with our marks: rows then have exactly as many tokens as are asked for."""
    words = [*SPECIAL_TOKENS, *(f"w{i}" for i in range(len(SPECIAL_TOKENS), shape.vocabulary))]
    ids = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=words[-1]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return wrap_tokenizer(tokenizer, shape.context)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of exact lengths in random words, and where their artefacts go."""

    folder: Path
    formatter: Formatter
    shape: Shape
    random: random.Random

    def words(self, count: int) -> str:
        first = len(SPECIAL_TOKENS)
        drawn = (self.random.randrange(first, self.shape.vocabulary - 1) for _ in range(count))
        return " ".join(f"w{i}" for i in drawn)

    def prompt(self, tokens: int, number: int) -> Prompt:
        """A prompt of so many tokens, the two marks included."""
        return Prompt(id=f"prompt-{number}", text=self.words(tokens - 2))

    def response(self, tokens: int) -> str:
        """A response of so many tokens, the end included."""
        return self.words(tokens - 1)

    def write(self, kind: Kind, files: dict[str, Sequence[Any]]) -> None:
        """An artefact in the folder named after its kind."""

        def inside(folder: Path) -> None:
            for name, records in files.items():
                write_records(folder / f"{name}.jsonl.gz", list(records))

        write_artifact(self.folder / kind, kind, inside, parents=[], facts={})

    def tokens(self, prompts: Sequence[Any], responses: Sequence[Any]) -> None:
        """Leave the rows for the peers."""
        values = {"prompts": prompts, "responses": responses}
        (self.folder / "rows.json").write_text(json.dumps(values), encoding="utf-8")

    def rankings(self, count: int, work: dict[str, int]) -> None:
        """Rankings without ties, so that each has all K(K-1)/2 pairs; completions from best to worst."""
        made: list[Ranking] = []
        for number in range(count + VALIDATED):
            texts = [self.response(work["response"]) for _ in range(work["completions"])]
            completions = tuple(
                Completion(text=text, model="random", finished=True, tokens=work["response"])
                for text in texts
            )
            ranks = tuple(range(1, len(texts) + 1))
            prompt = self.prompt(work["prompt"], number)
            made.append(
                Ranking(prompt=prompt, completions=completions, ranks=ranks, labeler="random")
            )
        self.write("rankings", {"train": made[:count], "valid": made[count:]})
        shown = [
            Demonstration(prompt=ranking.prompt, response=ranking.completions[0].text)
            for ranking in made[:VALIDATED]
        ]
        self.write("demonstrations", {"train": shown, "valid": shown})
        self.tokens(
            [self.formatter.prompt(one.prompt) for one in made[:count]],
            [[self.formatter.response(c.text) for c in one.completions] for one in made[:count]],
        )

    def prompts(self, count: int, work: dict[str, int]) -> None:
        """Prompts to answer."""
        made = [self.prompt(work["prompt"], number) for number in range(count)]
        few = made[:VALIDATED]
        self.write("prompts", {"rl": made, "rankings": few, "valid": few, "test": few})
        self.tokens([self.formatter.prompt(one) for one in made], [])

    def blocks(self, count: int, work: dict[str, int]) -> None:
        """Rows of one length, a prompt of the two marks and the rest response."""
        made = [
            Demonstration(prompt=self.prompt(3, i), response=self.response(work["length"] - 3))
            for i in range(count)
        ]
        self._demonstrations(made)

    def story_tasks(self, count: int) -> None:
        """Ragged tasks over the bundled stories, in the order that our own SFT would shuffle them."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            stories = config_class("stories")()
            run_stage("stories", folder / "text", stories, resume=False)
            tasks = config_class("demonstrations").model_validate({"seed": SEED})
            run_stage("demonstrations", folder / "tasks", tasks, resume=False, text=folder / "text")
            source = open_artifact(folder / "tasks", "demonstrations")
            rows = read_records(source.file("train.jsonl.gz"), Demonstration)
        order = epoch_order(len(rows), SEED, 0)
        chosen = [rows[i] for i in order if self._size(rows[i]) <= self.shape.context][:count]
        if len(chosen) < count:
            raise SystemExit(f"there are {len(chosen)} story tasks; {count} are asked for")
        self._demonstrations(chosen)

    def _size(self, row: Demonstration) -> int:
        encode = self.formatter
        return len(encode.prompt(row.prompt)) + len(encode.response(row.response))

    def _demonstrations(self, rows: Sequence[Demonstration]) -> None:
        few = rows[:VALIDATED]
        self.write("demonstrations", {"train": rows, "valid": few, "test": few})
        self.tokens(
            [self.formatter.prompt(one.prompt) for one in rows],
            [self.formatter.response(one.response) for one in rows],
        )


def prepare(name: str, folder: Path, shape: Shape, work: dict[str, int], count: int) -> None:
    """Write the inputs of a benchmark with `count` rows."""
    if name == "sft":
        tokenizer = load_tokenizer(asset("base"))
        if len(tokenizer) != shape.vocabulary:
            raise SystemExit(f"the tokenizer of the stories has {len(tokenizer)} entries")
    else:
        tokenizer = word_tokenizer(shape)
    model = new_model(shape, tokenizer)
    save_model(model, tokenizer, folder / "model")
    rows = Rows(folder, Formatter.of(tokenizer), shape, random.Random(SEED))
    match name:
        case "reward" | "reward-long-prompt":
            rows.rankings(count, work)
        case "ppo" | "ppo-one-epoch":
            rows.prompts(count, work)
            scorer = ScalarModel.load(folder / "model")
            scorer.new_head(SEED)
            scorer.model.config.pad_token_id = tokenizer.pad_token_id

            def write(inside: Path) -> None:
                save_model(scorer.model, tokenizer, inside)

            write_artifact(folder / "reward-model", "reward-model", write, parents=[], facts={})
        case "rollout":
            rows.prompts(count, work)
        case "sft":
            rows.story_tasks(count)
        case "training-step":
            rows.blocks(count, work)
        case _:
            raise SystemExit(f"no inputs are known for '{name}'")


def main() -> None:
    """Write the inputs that are described by the JSON on the command line."""
    values = json.loads(sys.argv[1])
    shape = Shape(**values["shape"])
    prepare(values["name"], Path(values["folder"]), shape, values["work"], values["rows"])
    print(ANSWER + "{}")


if __name__ == "__main__":
    main()

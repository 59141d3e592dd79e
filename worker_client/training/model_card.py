"""README.md of a trained model: where it comes from, how good it is, how to use it. No text of any row."""

import json
from pathlib import Path
from typing import Any

from worker_client.protocol import BUILTIN_TINY_BERT, TrainingSpec
from worker_client.training.task import Task

TEMPLATE = """---
{metadata}
---

# {title}

{task_words} fine-tuned from `{base_model}` on a private sheet. Run {run_id} of BERT Training.

## Results on the test part

The test part ({test_rows} rows) was set apart by content and seed.
It was scored once, with the weights of epoch {best_epoch}.

| | f1 | precision | recall | accuracy | loss |
|---|---|---|---|---|---|
| this model | {f1:.4f} | {precision:.4f} | {recall:.4f} | {accuracy:.4f} | {loss:.4f} |
| majority class | {baseline_f1:.4f} | | | {baseline_accuracy:.4f} | |

{f1_words}

| label | precision | recall | f1 | {counted} |
|---|---|---|---|---|
{per_class}

## Training

- Base model: `{base_model}`{revision}. {licence_words}
- Data: sha256 `{dataset_sha256}`; rows: {sizes}; split digest `{split_digest}`
- Seed {seed}; hyperparameters: `{hyperparameters}`
- {environment}

## Limits

- Figures hold for texts like those of the sheet. Labels with few {counted} have uncertain figures: see the last column.
- Inputs are read up to {max_length} sub-tokens ({long_text}); {cut_share:.1%} of the training texts were cut.
- The model may repeat what is unbalanced or wrong in its data. A person should check decisions that matter.
- It was trained on texts that may hold personal data: share it under the rules that hold for them.

## Use

```python
from transformers import pipeline

{snippet}
```

Whole sheets, long texts in windows: `python -m worker_client predict --model DIR --input IN.xlsx --output OUT.xlsx`
"""

TASK_WORDS = {"text-classification": "Text classification", "token-classification": "Named entity recognition"}
F1_WORDS = {
    "text-classification": "F1, precision and recall are means over the classes (macro).",
    "token-classification": "F1, precision and recall count whole entities (strict IOB2), accuracy counts words.",
}
COUNTED = {"text-classification": "rows", "token-classification": "entities"}  # what the figures of a label are of
SNIPPETS = {
    "text-classification": 'classify = pipeline("text-classification", model="DIR")\n'
    'classify("Texto do processo", truncation=True)  # without truncation a long text is an error',
    "token-classification": 'find = pipeline("token-classification", model="DIR", aggregation_strategy="first")\n'
    'find("Texto do processo")  # reads the first sub-tokens only; add stride={stride} for long texts',
}


def render(spec: TrainingSpec, task: Task, facts: dict[str, Any]) -> str:
    """The card. facts: metrics, report, environment, best_epoch, hyperparameters, max_length, cut_share."""
    report, environment = facts["report"], facts["environment"]
    return TEMPLATE.format(
        metadata=_metadata(spec, task),
        title=spec.run_name.replace("\n", " ") or f"Run {spec.run_id}",
        task_words=TASK_WORDS[task.pipeline_tag],
        f1_words=F1_WORDS[task.pipeline_tag],
        counted=COUNTED[task.pipeline_tag],
        # The overlap of two windows must be less than what one holds.
        snippet=SNIPPETS[task.pipeline_tag].format(stride=facts["max_length"] // 2),
        base_model=spec.base_model,
        revision=f" at revision `{spec.base_model_revision}`" if spec.base_model_revision else "",
        licence_words=_licence_words(spec),
        run_id=spec.run_id,
        seed=spec.seed,
        dataset_sha256=spec.dataset_sha256,
        split_digest=report["split_digest"],
        sizes=", ".join(f"{name} {size}" for name, size in report["split_sizes"].items()),
        test_rows=report["split_sizes"]["test"],
        per_class="\n".join(_class_line(row) for row in report["per_class"]),
        hyperparameters=json.dumps(facts["hyperparameters"], ensure_ascii=False),
        environment=", ".join(
            f"{name} {environment[name]}" for name in ("torch", "transformers", "device", "precision")
        ),
        best_epoch=facts["best_epoch"],
        max_length=facts["max_length"],
        long_text=facts["hyperparameters"]["long_text"],
        cut_share=facts["cut_share"],
        **facts["metrics"],
    )


def base_licence(spec: TrainingSpec) -> str:
    """`license:` of the base model's own card, or an empty string."""
    card = Path(spec.base_model_dir or "") / "README.md"
    if not spec.base_model_dir or not card.is_file():
        return ""
    lines = card.read_text(encoding="utf-8", errors="replace").splitlines()[:60]
    named = [line.partition(":")[2].strip(" \"'") for line in lines if line.startswith("license:")]
    return named[0] if named else ""


def _metadata(spec: TrainingSpec, task: Task) -> str:
    lines = ["language: pt", "library_name: transformers", f"pipeline_tag: {task.pipeline_tag}"]
    if spec.base_model != BUILTIN_TINY_BERT:
        lines.append(f"base_model: {spec.base_model}")
    if licence := base_licence(spec):
        lines.append(f"license: {licence}")
    return "\n".join(lines)


def _licence_words(spec: TrainingSpec) -> str:
    if spec.base_model == BUILTIN_TINY_BERT:
        return "It starts from random weights and a vocabulary of the training texts; no foreign licence applies."
    licence = base_licence(spec)
    return f"Its licence: {licence}." if licence else "Its folder names no licence: see where it was published."


def _class_line(row: dict[str, Any]) -> str:
    label = row["label"].replace("|", "\\|").replace("\n", " ")
    return f"| {label} | {row['precision']:.4f} | {row['recall']:.4f} | {row['f1']:.4f} | {row['support']} |"

"""One attempt from the sheet to the model directory: the order of things; each thing is in a room of its own."""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from worker_client.errors import FailureReason, TrainingFailed
from worker_client.formats import Record
from worker_client.protocol import Outcome, TrainingSpec
from worker_client.spool import Spool
from worker_client.training import checkpoints, environment, narration, together, trainer
from worker_client.training.base_models import BaseModel, load_base_model
from worker_client.training.batches import Layout, Padded
from worker_client.training.callbacks import SaveByClock, StopOnRequest, Telemetry, epoch_points
from worker_client.training.data import Parts, load_records, split_records, verify_sha256
from worker_client.training.encoding import Encoded
from worker_client.training.export import export_model
from worker_client.training.faults import is_memory
from worker_client.training.framing import Frame, frame_for
from worker_client.training.hyperparameters import Hyperparameters
from worker_client.training.layers import check_layers
from worker_client.training.log_lines import quieten_transformers
from worker_client.training.memory import FakeLimit, GiveBack, Memory, memory_told_of_loading
from worker_client.training.ordering import RowOrder
from worker_client.training.packing import layout_for
from worker_client.training.progress import Progress
from worker_client.training.stopping import Stopping
from worker_client.training.task import Decoded, Task
from worker_client.training.tasks import task_for
from worker_client.training.token_cache import tokens_of
from worker_client.training.token_lengths import cut_by_label, token_lengths
from worker_client.training.workload import Workload

logger = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")
UNREADABLE = (
    "Base model {base_model} reads nothing in the rows of the training part: their characters are none that it knows. "
    "Look at these rows in the sheet; a wrong character set shows as \N{REPLACEMENT CHARACTER}."
)
MATRIX_LABELS = 500  # a larger table is in the model's folder alone: the server keeps a few megabytes of a report


@dataclass(frozen=True)
class Prepared:
    """All that the training needs."""

    spec: TrainingSpec
    hyper: Hyperparameters
    task: Task
    parts: Parts
    base: BaseModel
    frame: Frame
    encoded: dict[str, Encoded]
    recipe: environment.Recipe
    token_lengths: dict[str, Any]
    cut_by_label: list[dict[str, Any]]

    @property
    def recomputes(self) -> bool:
        """Gradient checkpointing: the person's wish, or for want of memory; where the library can (not with ALBERT)."""
        wanted = self.hyper.gradient_checkpointing or self.spec.gradient_checkpointing
        return bool(wanted and self.base.model.supports_gradient_checkpointing)


def run_attempt(spec: TrainingSpec, stopping: Stopping, spool: Spool) -> Outcome:
    """Train, score, export. Raises TrainingFailed, or Stopped when the parent asked for it."""
    quieten_transformers()
    progress = Progress(spool)
    with memory_told_of_loading():
        prepared = _prepare(spec, stopping, progress)
    memory = _memory(prepared, stopping, spool)
    engine = None
    try:
        engine = _engine(prepared, memory, stopping, spool, progress)
        _train(engine, prepared, spool)
        return _finish(engine, prepared, stopping, spool, progress)
    except (RuntimeError, MemoryError) as problem:
        # Here is known what did not fit; everything else is explained by the caller.
        if not is_memory(problem):
            raise
        raise memory.failure("training" if engine else "loading", engine and engine.args) from problem


def _prepare(spec: TrainingSpec, stopping: Stopping, progress: Progress) -> Prepared:
    progress.phase("loading")
    hyper = Hyperparameters.from_spec(spec.hyperparameters)
    recipe = environment.choose_recipe(spec.device, hyper.precision)
    environment.limit_memory(recipe, spec.gpu_memory_fraction)
    verify_sha256(Path(spec.dataset_path), spec.dataset_sha256)
    parts = split_records(load_records(spec), train_share=hyper.train_split, seed=spec.seed)
    task = task_for(spec.task_type, spec.labels)
    narration.parts(task, parts)
    set_seed(spec.seed)
    base = load_base_model(spec, task, parts.train)
    recipe = environment.as_far_as(base.model.config.model_type, recipe, hyper.precision)
    check_layers(base.model, hyper.layer_lr_decay)
    frame = _frame(hyper, base)
    progress.phase("tokenizing")
    stopping.check()
    encoded = _encoded(spec, task, parts, base.tokenizer, frame)
    if not any(encoded["train"].lengths):
        raise TrainingFailed(FailureReason.INVALID_DATA, UNREADABLE.format(base_model=spec.base_model))
    measured = token_lengths(spec, [length for name in PARTS for length in encoded[name].lengths], frame)
    by_label = cut_by_label(task, ((getattr(parts, name), encoded[name]) for name in PARTS))
    narration.encoded(encoded, frame, measured, by_label)
    encoded.update({name: encoded[name].by_length() for name in ("validation", "test")})
    if hyper.gradient_checkpointing and not base.model.supports_gradient_checkpointing:
        logger.warning("No gradient checkpointing: the library has none for %s models", base.model.config.model_type)
    return Prepared(spec, hyper, task, parts, base, frame, encoded, recipe, measured, by_label)


def _encoded(spec: TrainingSpec, task: Task, parts: Parts, tokenizer: Any, frame: Frame) -> dict[str, Encoded]:
    by_part: dict[str, list[Record]] = {name: getattr(parts, name) for name in PARTS}
    tokens = tokens_of(spec, task, [record for records in by_part.values() for record in records], tokenizer)
    return {
        name: task.encode(records, [tokens[record.row] for record in records], frame)
        for name, records in by_part.items()
    }


def _frame(hyper: Hyperparameters, base: BaseModel) -> Frame:
    length = min(hyper.max_length, base.limit)
    if length < hyper.max_length:
        logger.info("max_length %d is more than the base model reads: %d is used", hyper.max_length, length)
    frame = frame_for(base.tokenizer, max_length=length, long_text=hyper.long_text, window_stride=hyper.window_stride)
    if hyper.long_text == "windows" and frame.overlap < hyper.window_stride:
        logger.info(
            "window_stride %d does not fit into windows of %d: %d is used",
            hyper.window_stride,
            frame.capacity,
            frame.overlap,
        )
    return frame


def _memory(prepared: Prepared, stopping: Stopping, spool: Spool) -> Memory:
    return Memory(
        model=prepared.base.model,
        device=prepared.recipe.device,
        max_length=prepared.frame.max_length,
        recomputes=prepared.recomputes,
        note=spool.append_event,
        workspace=stopping.workspace,
    )


def _engine(
    prepared: Prepared, memory: Memory, stopping: Stopping, spool: Spool, progress: Progress
) -> trainer.EncoderTrainer:
    spec, hyper, task = prepared.spec, prepared.hyper, prepared.task
    arguments = trainer.training_arguments(
        hyper,
        seed=spec.seed,
        recipe=prepared.recipe,
        output_dir=spec.checkpoints_dir,
        # A batch of documents is a much larger batch of windows; how it is split does not change the gradient.
        largest_batch=spec.device_batch_size or max(hyper.batch_size // prepared.encoded["train"].usual_inputs(), 1),
        eval_batch=spec.eval_batch_size,
        recomputes=prepared.recomputes,
    )
    memory.note_tried(arguments)
    layout = _layout(prepared, arguments.device)
    order, workload = _work(prepared, layout)
    narration.recipe(prepared.recipe, arguments, layout, spec.base_model)
    return trainer.build_trainer(
        model=prepared.base.model,
        arguments=arguments,
        hyper=hyper,
        callbacks=[
            *([FakeLimit(spec.fake_memory, recomputes=prepared.recomputes)] if spec.fake_memory else []),
            Telemetry(spool, progress, workload),
            SaveByClock(hyper.save_every_minutes),
            GiveBack(),
            StopOnRequest(stopping),
        ],
        task=task,
        train=prepared.encoded["train"],
        validation=(prepared.parts.validation, prepared.encoded["validation"]),
        weight=trainer.class_weight(hyper, task, prepared.parts.train),
        fingerprint=_fingerprint(prepared),
        tokenizer=prepared.base.tokenizer,
        layout=layout,
        order=order,
        memory=memory,
        note=spool.append_event,
    )


def _work(prepared: Prepared, layout: Layout) -> tuple[RowOrder, Workload]:
    """The rows of every step, and what they take."""
    lengths, validation, test = ([feature["length"] for feature in prepared.encoded[part].features] for part in PARTS)
    hyper, spec = prepared.hyper, prepared.spec
    # Packed batches have no padding to save.
    grouped = isinstance(layout, Padded) and prepared.task.rows_weigh_alike
    filled = together.count() > 1
    order = RowOrder(lengths, batch_size=hyper.batch_size, seed=spec.seed, grouped=grouped, filled=filled)
    return order, Workload(order, epochs=hyper.epochs, validation=sum(validation), test=sum(test))


def _layout(prepared: Prepared, device: torch.device) -> Layout:
    """Packed batches where they are proven on this very model and device, and for each process on its own."""
    texts = [text for feature in prepared.encoded["train"].features for text in prepared.task.texts(feature)]
    model = prepared.base.model.to(device)
    padded = Padded(prepared.base.tokenizer.pad_token_id)
    layout = layout_for(model, texts, pad_id=padded.pad_id, dtype=prepared.recipe.dtype)
    # The order of rows goes by it: with two layouts some rows would be trained twice and others never.
    return padded if padded.name in together.said_by_all(layout.name) else layout


def _train(engine: trainer.EncoderTrainer, prepared: Prepared, spool: Spool) -> None:
    """From the newest usable checkpoint, or from the start; ends with the best weights loaded."""
    root, first = Path(prepared.spec.checkpoints_dir), together.is_first()
    found = together.agreed(_checkpoint(root, engine.fingerprint, spool) if first else None)
    if found is None:
        engine.train()
        return
    logger.info("Going on from the checkpoint of step %d", found.step)
    spool.append_event("resumed", step=found.step)
    if found.grouped is not None:
        engine.order.grouped = found.grouped  # also where the layout, which chose it, is another one now
    if found.stopped_early:
        # Early stopping had ended it before the model was exported: no epoch may be added.
        engine.args.num_train_epochs = round(found.state["epoch"])
    engine.train(resume_from_checkpoint=str(found.path))


def _checkpoint(root: Path, fingerprint: str, spool: Spool) -> checkpoints.Checkpoint | None:
    """The one to go on from. Damage is told; what cannot be used is removed."""
    survey = checkpoints.survey(root)
    found = checkpoints.newest_usable(survey, fingerprint)
    if damaged := checkpoints.damaged(survey):
        spool.append_event("checkpoint_damaged", steps=", ".join(map(str, damaged)))
    if dropped := checkpoints.drop_others(survey, found, fingerprint):
        logger.warning("Checkpoints that are damaged or of other settings were dropped: %s", ", ".join(dropped))
    return found


def _finish(
    engine: trainer.EncoderTrainer, prepared: Prepared, stopping: Stopping, spool: Spool, progress: Progress
) -> Outcome:
    stopping.check()
    progress.phase("evaluating")
    state, spec, parts = engine.state, prepared.spec, prepared.parts
    decoded = engine.score(parts.test, prepared.encoded["test"])
    metrics = _test_metrics(prepared, decoded)
    best_step, best_epoch = _best(state)
    spool.append_metrics(epoch=best_epoch, step=best_step, split="test", values=metrics)
    narration.result(metrics, best_epoch)
    if not together.is_first():
        return Outcome("completed")
    progress.phase("saving")
    facts = _facts(engine, prepared, decoded, metrics, best_epoch)
    digest = export_model(
        spec=spec,
        task=prepared.task,
        model=engine.model,
        tokenizer=prepared.base.tokenizer,
        predictions=prepared.task.prediction_table(parts.test, decoded),
        facts=facts,
    )
    return Outcome(
        "completed",
        metrics=metrics,
        best_epoch=best_epoch,
        model_path=spec.model_dir,
        model_sha256=digest,
        report=facts["report"],
        environment=facts["environment"],
    )


def _test_metrics(prepared: Prepared, decoded: Decoded) -> dict[str, float]:
    """Flat figures of the test part, and those of the majority class on the same rows."""
    task, parts = prepared.task, prepared.parts
    baseline = task.baseline(parts.train, parts.test)
    return {
        "loss": decoded.loss,
        **task.figures(parts.test, decoded),
        "baseline_f1": baseline["f1"],
        "baseline_accuracy": baseline["accuracy"],
    }


def _facts(
    engine: trainer.EncoderTrainer, prepared: Prepared, decoded: Decoded, metrics: dict[str, float], best_epoch: float
) -> dict[str, Any]:
    """What the card, the reports and the server are told of the model."""
    told = prepared.task.report(prepared.parts.test, decoded)
    report = {
        "per_class": told["per_class"],
        "confusion_matrix": told["confusion"].table(MATRIX_LABELS),
        "split_sizes": prepared.parts.sizes(),
        "split_digest": prepared.parts.digest,
        "truncated_share": {name: round(prepared.encoded[name].cut_share, 6) for name in PARTS},
        "truncated_by_label": prepared.cut_by_label,
        "lost_words": {name: prepared.encoded[name].lost_words for name in PARTS},
        "token_lengths": prepared.token_lengths,
    }
    described = {
        **environment.describe(prepared.spec, prepared.recipe),
        "batches": engine.layout.name,
        "processes": together.count(),
        "device_batch_size": engine.args.per_device_train_batch_size,
        "gradient_accumulation": engine.args.gradient_accumulation_steps,
        "eval_batch_size": engine.args.per_device_eval_batch_size,
        "gradient_checkpointing": prepared.recomputes,
        "gpu_memory_peak_bytes": environment.memory_peak(prepared.recipe),
    }
    return {
        "metrics": metrics,
        "report": report,
        "confusion": told["confusion"],
        "environment": described,
        "epochs": epoch_points(engine.state.log_history),
        "best_epoch": best_epoch,
        "hyperparameters": asdict(prepared.hyper),
        "max_length": prepared.frame.max_length,
        "cut_share": prepared.encoded["train"].cut_share,
    }


def _best(state: Any) -> tuple[int, float]:
    """Step and epoch of the weights that were chosen."""
    step = state.best_global_step or state.global_step
    epochs = [entry["epoch"] for entry in state.log_history if entry["step"] == step and "eval_loss" in entry]
    return step, float(epochs[-1] if epochs else state.epoch)


def _fingerprint(prepared: Prepared) -> str:
    """What must be equal for a checkpoint to be of this run. How a batch is split over steps need not be."""
    spec = prepared.spec
    facts = [
        spec.dataset_sha256,
        spec.task_type,
        spec.labels,
        spec.base_model,
        spec.base_model_revision,
        spec.seed,
        prepared.parts.digest,
        asdict(prepared.hyper),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

"""Our names to the library's, and the few places where its Trainer must do otherwise."""

import logging
import math
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from worker_client.errors import FailureReason
from worker_client.formats import Record
from worker_client.training import checkpoints, together
from worker_client.training.batches import Layout
from worker_client.training.callbacks import FollowTheFirst, ends_epoch
from worker_client.training.encoding import Encoded, Feature, balanced_weights
from worker_client.training.environment import Recipe
from worker_client.training.faults import explain, is_memory, not_a_number
from worker_client.training.hyperparameters import Hyperparameters
from worker_client.training.layers import parameter_groups
from worker_client.training.memory import Memory
from worker_client.training.ordering import RowOrder
from worker_client.training.packing import FAMILIES
from worker_client.training.scoring import answers, rows_at_once
from worker_client.training.task import Decoded, Task

logger = logging.getLogger(__name__)

EVALUATION_FACTOR = 4  # without gradients, four times the rows fit
POLYNOMIAL_END = 1e-7  # the library's own; it must be below the rate that the run begins with


class EncoderTrainer(Trainer):
    """The library's loop with our order of rows, our loss, figures per record, and checkpoints that are sealed."""

    def __init__(
        self,
        *,
        task: Task,
        train: Encoded,
        validation: tuple[Sequence[Record], Encoded],
        weight: np.ndarray | None,
        fingerprint: str,
        tokenizer: Any,
        layout: Layout,
        order: RowOrder,
        memory: Memory,
        note: Callable[..., None],
        layer_lr_decay: float = 1.0,
        **arguments: Any,
    ) -> None:
        super().__init__(
            train_dataset=[*train.features, _blank(task, train.features)] if order.filled else train.features,
            eval_dataset=validation[1].features,
            data_collator=partial(task.collate, layout=layout),
            processing_class=tokenizer,
            compute_loss_func=task.loss,
            **arguments,
        )
        self.task = task
        self.validation = validation
        self.layout = layout
        self.fingerprint = fingerprint
        self.memory = memory
        self.note = note  # makes an event of the run page
        self.told_full_disk = False
        self.weight = None if weight is None else torch.tensor(weight, dtype=torch.float32, device=self.args.device)
        self.order = order
        self.layer_lr_decay = layer_lr_decay

    def score(self, records: Sequence[Record], encoded: Encoded) -> Decoded:
        """What the model as it is says about `records`.

        Raises OutOfMemory when not even one row fits, TrainingFailed(nan_loss) when it says nothing: weights may be
        lost in the last step of an epoch, behind the last training loss, and the figures would look like bad ones.
        """
        while (compacted := self._outputs(encoded)) is None:
            # Here and not where it was caught: the exception would hold on to what does not fit.
            rows, device = self.args.per_device_eval_batch_size, self.model.device.type
            tried = rows_at_once(self.task, encoded.features, rows, device)
            self.memory.halve_evaluation(self.args, tried)
        decoded = self.task.decode(records, encoded, compacted)
        if not math.isfinite(decoded.loss):
            raise not_a_number("evaluation", self.state.global_step)
        return decoded

    def _outputs(self, encoded: Encoded) -> list[np.ndarray] | None:
        """The compacted outputs, or None when the evaluation batch is too large for the memory."""
        try:
            # Around all batches: within it the weights are cast once.
            with self.accelerator.autocast():
                rows, share = self.args.per_device_eval_batch_size, together.shared_out(encoded.features)
                found = answers(self.model, self.task, share, self.layout, rows=rows, after_batch=self._after_batch)
        except (RuntimeError, MemoryError) as problem:
            if not is_memory(problem):
                raise
            found = None
        return together.collected(found)

    def _after_batch(self) -> None:
        self.callback_handler.on_prediction_step(self.args, self.state, self.control)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Figures of the validation part, counted per record and not per feature."""
        records, encoded = self.validation
        decoded = self.score(records, encoded)
        figures = {"loss": decoded.loss, **self.task.figures(records, decoded)}
        prefixed = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        self.log(dict(prefixed))
        self.callback_handler.on_evaluate(self.args, self.state, self.control, prefixed)
        return prefixed

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The task's loss on pooled logits; the divisor is the whole effective batch (see Task.loss)."""
        inputs = dict(inputs)
        labels = inputs.pop("labels")
        window_counts = inputs.pop("window_counts", None)
        logits = self.task.pool(model(**inputs).logits, window_counts)
        loss = self.task.loss(
            logits,
            labels,
            num_items_in_batch=num_items_in_batch,
            weight=self.weight,
            label_smoothing=self.args.label_smoothing_factor,
        )
        if num_items_in_batch is not None:
            # Each process holds a part of the batch, and their gradients are averaged: undo that mean.
            loss = loss * self.accelerator.num_processes
        return (loss, {"logits": logits}) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The library's own, with a rate for each layer where the run asks for it."""
        if self.layer_lr_decay < 1 and self.optimizer is None:  # type: ignore[has-type]
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = kind(self._parameter_groups(), **options)
        return super().create_optimizer(model)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The library's own. The last step is never warm-up: alone it would have a rate of 0, or a division by 0."""
        if self.args.get_warmup_steps(num_training_steps) >= num_training_steps:
            self.args.warmup_steps = num_training_steps - 1
        return super().create_scheduler(num_training_steps, optimizer)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        return parameter_groups(
            self.model,
            learning_rate=self.args.learning_rate,
            decay=self.layer_lr_decay,
            weight_decay=self.args.weight_decay,
            decayed=set(self.get_decay_parameter_names(self.model)),
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> RowOrder:
        return self.order

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """The library's; of equal figures, which small validation parts often give, the one of the lowest loss."""
        if super()._determine_best_metric(metrics, trial):
            return True
        ties = metrics[f"eval_{self.args.metric_for_best_model}"] == self.state.best_metric
        if not ties or metrics["eval_loss"] >= self._validation_loss(self.state.best_global_step):
            return False
        self.state.best_global_step = self.state.global_step
        return True

    def _validation_loss(self, step: int) -> float:
        told = (entry for entry in self.state.log_history if entry["step"] == step)
        return next(entry["eval_loss"] for entry in told if "eval_loss" in entry)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        try:
            # By itself, for what follows is nested: a process that failed here would be one agreement behind.
            with together.alike():
                if together.is_first():
                    checkpoints.unseal(folder)
            with together.alike():  # each process writes the state of its random numbers
                super()._save_checkpoint(model, trial)
            with together.alike():
                if together.is_first():
                    checkpoints.note_order(folder, grouped=self.order.grouped)
                    checkpoints.seal(folder, self.fingerprint)
        except Exception as problem:
            self._clear_up_after(problem, folder)
            return
        self.told_full_disk = False
        if together.is_first():
            checkpoints.prune(folder.parent, self.state.best_global_step)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Only the first process writes it; behind it the library lets all of them wait for each other."""
        with together.alike():
            super().save_model(output_dir, _internal_call)

    def _clear_up_after(self, problem: Exception, folder: Path) -> None:
        """Within an epoch a full disk costs a checkpoint only; at its end the best model must be kept: raises."""
        if explain(problem).reason != FailureReason.DISK_FULL:
            raise problem
        if together.is_first():
            shutil.rmtree(folder, ignore_errors=True)
        if ends_epoch(self.args, self.state):
            raise problem
        logger.warning("The disk has no room for the checkpoint of step %d: going on", self.state.global_step)
        if not self.told_full_disk:
            self.note("checkpoint_failed", step=self.state.global_step)
        self.told_full_disk = True


def _blank(task: Task, features: Sequence[Feature]) -> Feature:
    """A row that counts for nothing and costs little."""
    return task.unlabelled(min(features, key=lambda feature: int(feature["length"])))


class OrderOfEpoch(TrainerCallback):
    """Tells the order which epoch begins; the library does not where a run of several processes is resumed."""

    def __init__(self, order: RowOrder) -> None:
        self.order = order

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """`state.epoch` is a fraction in mid-epoch."""
        self.order.set_epoch(int(state.epoch or 0))


class BestLiesBeside(TrainerCallback):
    """Finds the best checkpoint of a resumed run also where the worker's folder was moved since.

    The library notes its whole path; of one that is gone it says a line, and a training that is over would end with
    the last weights under the best epoch's name.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Intact it is: a checkpoint without its best one is never gone on from (checkpoints.newest_usable)."""
        if state.best_global_step:
            state.best_model_checkpoint = str(Path(args.output_dir) / f"checkpoint-{state.best_global_step}")


def device_batch(effective: int, largest: int | None) -> tuple[int, int]:
    """Rows per device batch and how many of them make one step of a process: their product is `effective`, exactly.

    largest: what fits on the device, where that is known. The device batch is the largest divisor within it.
    """
    fits = min(effective, largest or effective)
    size = next(size for size in range(fits, 0, -1) if effective % size == 0)
    return size, effective // size


def training_arguments(
    hyper: Hyperparameters,
    *,
    seed: int,
    recipe: Recipe,
    output_dir: str,
    largest_batch: int | None,
    eval_batch: int | None = None,
    recomputes: bool = False,
) -> TrainingArguments:
    """Our hyperparameters in the library's words. recomputes: gradient checkpointing, whoever wants it."""
    size, accumulation = device_batch(hyper.batch_size // together.count(), largest_batch)
    return TrainingArguments(
        output_dir=output_dir,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulation,
        per_device_eval_batch_size=eval_batch or size * EVALUATION_FACTOR,
        num_train_epochs=hyper.epochs,
        learning_rate=hyper.learning_rate,
        weight_decay=hyper.weight_decay,
        warmup_steps=hyper.warmup_ratio,  # below 1 it is a share of all steps
        lr_scheduler_type=hyper.lr_scheduler,
        lr_scheduler_kwargs=_schedule_options(hyper),
        label_smoothing_factor=hyper.label_smoothing,
        bf16=recipe.precision == "bf16",
        fp16=recipe.precision == "fp16",
        tf32=recipe.tf32,
        optim="adamw_torch_fused",
        **({_recomputation(): True} if recomputes else {}),
        use_cpu=recipe.device == "cpu",
        dataloader_pin_memory=recipe.device == "cuda",
        seed=seed,
        data_seed=seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model=hyper.metric_for_best,
        greater_is_better=hyper.metric_for_best != "loss",
        restore_callback_states_from_checkpoint=True,
        logging_nan_inf_filter=False,  # a loss that is not a number must be seen
        remove_unused_columns=False,
        label_names=["labels"],
        disable_tqdm=True,
        report_to="none",
    )


def _schedule_options(hyper: Hyperparameters) -> dict[str, float] | None:
    """What the schedule needs to know beside the number of steps."""
    if hyper.lr_scheduler != "polynomial":
        return None
    return {"lr_end": min(POLYNOMIAL_END, hyper.learning_rate / 10)}


def _recomputation() -> str:
    """The name of gradient checkpointing in the installed library."""
    names = TrainingArguments.__dataclass_fields__
    return "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"


def build_trainer(
    *, model: Any, arguments: TrainingArguments, hyper: Hyperparameters, callbacks: list[Any], **own: Any
) -> EncoderTrainer:
    """A trainer with early stopping where it is asked for."""
    if hyper.early_stopping_patience:
        callbacks = [*callbacks, EarlyStoppingCallback(early_stopping_patience=hyper.early_stopping_patience)]
    # The packed families use all; others may not (RoFormer, BigBird), and to look for it costs next to nothing.
    arguments.ddp_find_unused_parameters = model.config.model_type not in FAMILIES
    own |= {"args": arguments, "callbacks": callbacks, "layer_lr_decay": hyper.layer_lr_decay}
    trainer = EncoderTrainer(model=model, **own)
    trainer.remove_callback(PrinterCallback)  # the spool has the lines
    trainer.add_callback(OrderOfEpoch(trainer.order))
    trainer.add_callback(BestLiesBeside())
    if together.count() > 1:
        trainer.add_callback(FollowTheFirst())
    return trainer


def class_weight(hyper: Hyperparameters, task: Task, train: Sequence[Record]) -> np.ndarray | None:
    """Weights of the labels, or None for `class_weights: none`."""
    return balanced_weights(task.label_counts(train)) if hyper.class_weights == "balanced" else None

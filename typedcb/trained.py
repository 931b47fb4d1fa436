"""A model and the optimizer that steps it, in a checkpoint: what is kept, what may differ, and how it is given back."""

from __future__ import annotations

from typing import Any, Final, Iterable, Mapping, cast

from torch import Tensor, nn
from torch.optim import Optimizer

from .articles import an_instance, with_article
from .errors import CorruptCheckpointError
from .needs import HasModelAndOpt
from .ranks import here
from .store import Stored
from .tree import StoredTensor, Tree, dtype_name, is_dict, shard_of

_PARTS: Final[Mapping[str, type]] = {
    "model": dict,
    "grads": dict,
    "frozen": list,
    "training": list,
    "optimizer": dict,
}


def modes_of(model: nn.Module) -> list[str]:
    """Which modules of a model are in training mode."""
    return [name for name, module in _modules(model) if module.training]


def _modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(cast("Iterable[tuple[str, nn.Module]]", model.named_modules()))  # torch leaves it half typed


def captured_weights(one: HasModelAndOpt, training: Tree) -> dict[str, Tree]:
    """The state of a model and its optimizer, its tensors as they are.

    Args:
        one: The model and the optimizer.
        training: Which modules are in training mode.
    """
    model, opt = one.model, one.opt
    return {
        "model": dict(model.state_dict()),
        "grads": {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None},
        "frozen": [name for name, weight in model.named_parameters() if not weight.requires_grad],
        "training": training,
        "optimizer": {"class": type(opt).__qualname__, "state": opt.state_dict()},
    }


def check_weights(stored: Stored, tree: Tree) -> None:
    """Refuses what `captured_weights` has not made.

    Args:
        stored: The checkpoint that it is in.
        tree: What stands where the state of a model and its optimizer should.

    Raises:
        CorruptCheckpointError: It is no such state.
    """
    if not is_dict(tree) or any(not isinstance(tree.get(name), kind) for name, kind in _PARTS.items()):
        raise CorruptCheckpointError(f"{stored.path} holds no state of a learner.")
    if not is_dict(tree["optimizer"].get("state")):
        raise CorruptCheckpointError(f"{stored.path} holds no state of an optimizer.")


def weights_differences(tree: Tree, one: HasModelAndOpt) -> list[tuple[str, str]]:
    """How a saved state differs from what is there now: `model` or `optimizer`, and in what.

    Args:
        tree: What `captured_weights` made.
        one: The model and the optimizer that are there.
    """
    differences = [("model", text) for text in _model_differences(tree, one.model)]
    return [*differences, *(("optimizer", text) for text in _opt_differences(tree["optimizer"], one.opt))]


def loaded_weights(stored: Stored, tree: Tree, *, with_opt: bool) -> dict[str, Tree]:
    """A saved state with its tensors.

    Args:
        stored: The checkpoint.
        tree: What `captured_weights` made.
        with_opt: Whether the optimizer's state is read.
    """
    read: dict[str, Tree] = stored.load({name: tree[name] for name in ("model", "grads", "frozen", "training")})
    read["optimizer"] = stored.load(tree["optimizer"]["state"]) if with_opt else None
    return read


def give_weights(one: HasModelAndOpt, saved: Tree) -> None:
    """Gives a model and its optimizer the state that `loaded_weights` has read; no optimizer's where it is None."""
    model = one.model
    model.load_state_dict(saved["model"])
    if saved["optimizer"] is not None:
        one.opt.load_state_dict(saved["optimizer"])
    for name, weight in model.named_parameters():
        weight.requires_grad_(name not in saved["frozen"])
    set_grads(model, saved["grads"])
    for name, module in _modules(model):
        module.training = name in saved["training"]


def set_grads(module: nn.Module, grads: Mapping[str, Tensor]) -> None:
    """Gives a module's parameters their gradients; none to those that are not named."""
    for name, weight in module.named_parameters():
        grad = grads.get(name)
        weight.grad = None if grad is None else grad.to(weight.device)


def tensors_of(state: Mapping[str, Any]) -> dict[str, str]:  # Any: whatever an object keeps
    """The tensors of a state dict in words, by name."""
    return {name: _described(value) for name, value in state.items() if isinstance(value, (Tensor, StoredTensor))}


def _described(tensor: Tensor | StoredTensor) -> str:
    dtype = tensor.dtype if isinstance(tensor, StoredTensor) else dtype_name(tensor)
    shard = tensor.shard if isinstance(tensor, StoredTensor) else shard_of(tensor)
    in_shards = " in shards" if here().mesh is not None and shard is not None else ""
    return f"{dtype} {list(tensor.shape)}{in_shards}"


def differing_tensors(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """How two sets of named tensors differ, in words."""
    words = [f"{name} is missing now" for name in old if name not in new]
    words += [f"{name} is new" for name in new if name not in old]
    words += [f"{name} was {old[name]}, and is {new[name]}" for name in old if name in new and old[name] != new[name]]
    more = len(words) - 12
    return "; ".join(words[:12]) + (f"; and {more} more" if more > 0 else "")


def _model_differences(tree: Tree, model: nn.Module) -> list[str]:
    live = model.state_dict()
    old, new = tensors_of(tree["model"]), tensors_of(live)
    differences = [] if old == new else [differing_tensors(old, new)]
    if set(tree["model"]) - set(old) != set(live) - set(new):
        differences.append("what its modules keep beside tensors is of other names")
    grads = {name: text for name, text in tensors_of(tree["grads"]).items() if new.get(name) != text}
    if grads:
        differences.append(f"its gradients differ: {', '.join(grads)}")
    return differences


def _opt_differences(saved: Tree, opt: Optimizer) -> list[str]:
    if saved.get("class") != type(opt).__qualname__:
        return [f"it was {with_article(str(saved.get('class')))}, and is {an_instance(opt)}"]
    try:
        old = [len(group["params"]) for group in saved["state"]["param_groups"]]
    except (KeyError, TypeError):
        return ["it holds no parameter groups"]
    new = [len(group["params"]) for group in opt.param_groups]
    return [] if old == new else [f"its groups had {old} parameters, and have {new}"]

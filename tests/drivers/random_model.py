"""Model folders of a codec and a network of random weights: no training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from twinlake.core.seeds import generator
from twinlake.models.codec import Codec
from twinlake.models.cores import LanguageSettings
from twinlake.models.language import LanguageNetwork
from twinlake.models.script import Script, closed_codec
from twinlake.models.store import save_model
from twinlake.models.tabular import TabularNetwork, TabularSettings, model_facts


def save_random_model(folder: Path, codec: Codec) -> Path:
    """The same weights in every session; returns `folder`."""
    parents = np.tile(np.arange(len(codec.sizes), dtype=np.int64), (len(codec.sizes), 1))
    settings = TabularSettings(8, 16, 1)
    level = [np.zeros(size, np.float32) for size in codec.sizes]
    network = TabularNetwork(codec.sizes, parents, settings, level, 5)
    weights = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for name in sorted(weights):  # zeros at the start of a training would leave half of the network unused
        if name.startswith("blocks"):
            noise = generator(12, *name.encode()[-1:]).standard_normal(tuple(weights[name].shape)) * 0.3
            weights[name] += torch.from_numpy(noise.astype(np.float32))
    order = [c for c, slots in enumerate(codec.slots) if slots]
    facts = model_facts(codec.sizes, parents, settings, order, codec.slots)
    save_model(folder, codec, weights, {"family": "tabular", "rows": 4_000, "seed": 5, "history": [], **facts})
    return folder


def save_random_language(folder: Path, codec: Codec) -> Path:
    """The same for the language family, without texts."""
    script = Script(closed_codec(codec, frozenset()))
    settings = LanguageSettings("lstm", 32, 32)
    level = [np.zeros(size, np.float32) for size in script.layout.sizes]
    network = LanguageNetwork(script.layout, settings, level, 5)
    weights = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    facts = {"family": "language", "rows": 4_000, "seed": 5, "history": [], "settings": asdict(settings)}
    save_model(folder, codec, weights, facts, script)
    return folder

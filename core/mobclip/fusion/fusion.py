"""Fusion: the evidence of a cell, whatever there is of it, as one vector. numpy alone.

What each modality says is a *vote*: a vector of the shared space. The votes are summed; where some
are hidden, a small network corrects the sum. The linear part is found without training: smoothed
evidence of all modalities, side by side, cut to its principal axes. So the sum of all votes *is*
the embedding, and the network has nothing to add where nothing is hidden (its output is then
multiplied by 0); training teaches it what the rest says of what is missing.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy import sparse

from mobclip.baselines import shared_columns, spatial_kernel
from mobclip.baselines.features import centred, principal_axes
from mobclip.baselines.shared import evidence as shared_evidence
from mobclip.config import FusionConfig
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError, ConfigError
from mobclip.fusion.evidence import WIDE_DIMS, Evidence
from mobclip.fusion.flows import FlowMap
from mobclip.fusion.reader import Reader
from mobclip.place import MOBILITY, Place
from mobclip.storage import atomic_path
from mobclip.textmap import TEXT_PREFIX

POI = "poi"
FLOW_DIMS = 64  # singular vectors of each of the two flow matrices
FARTHER = 0.75  # how much less a mean over the far surroundings counts than one over the near ones

KNOWN, HIDDEN, GONE, ALONE, WORDS = range(5)
"""States of a modality at a cell, as the network sees them.

KNOWN: as it is, with its surroundings, also where a cell of the place has none: that is knowledge.
HIDDEN: the cell's own token is not known, the surroundings are.
GONE: nothing is known, neither here nor around.
ALONE: the cell's own token without surroundings, as of a picture that was brought along.
WORDS: of points of interest the text alone, as of a query.
"""
STATES = 5
DOUBT = np.array([0, 0.5, 1, 1, 1], np.float32)  # by state
VOTE_SCALE = np.float32(8)  # a dimension of an embedding has a standard deviation of about 1/8


@dataclass(frozen=True, kw_only=True)
class Votes:
    """What each modality says of each cell of a place, by state; GONE says nothing, 0."""

    modalities: tuple[str, ...]
    dims: int
    of_state: Mapping[int, Mapping[str, Float32[np.ndarray, "cells dims"]]]
    present: Mapping[str, Bool[np.ndarray, "cells"]]

    def chosen(
        self, rows: np.ndarray, states: Int8[np.ndarray, "rows modalities"]
    ) -> Float32[np.ndarray, "rows modalities dims"]:
        """The vote of each modality at some cells, in the given states."""
        votes = np.zeros((len(rows), len(self.modalities), self.dims), np.float32)
        for column, name in enumerate(self.modalities):
            for state, tables in self.of_state.items():
                here = states[:, column] == state
                if name in tables and here.any():
                    votes[here, column] = tables[name][rows[here]]
        return votes


@dataclass(frozen=True, kw_only=True)
class Network:
    """What the votes that are known say of those that are not: one hidden layer of ReLU."""

    inner: Float32[np.ndarray, "inputs hidden"]
    inner_bias: Float32[np.ndarray, " hidden"]
    outer: Float32[np.ndarray, "hidden dims"]
    outer_bias: Float32[np.ndarray, " dims"]

    def __call__(
        self,
        votes: Float32[np.ndarray, "rows modalities dims"],
        states: Int8[np.ndarray, "rows modalities"],
    ) -> Float32[np.ndarray, "rows dims"]:
        """The correction of the sum of votes; 0 where all is known."""
        inner = np.maximum(network_inputs(votes, states) @ self.inner + self.inner_bias, 0)
        return (inner @ self.outer + self.outer_bias) * doubt(states)[:, None]


def doubt(states: Int8[np.ndarray, "rows modalities"]) -> Float32[np.ndarray, " rows"]:
    """How much of the evidence is not known, from 0 to 1: by it the correction is multiplied.

    Of a modality whose surroundings are known about half is: its mean over the neighbours.
    """
    return DOUBT[states].mean(axis=1)


def network_inputs(
    votes: Float32[np.ndarray, "rows modalities dims"], states: Int8[np.ndarray, "rows modalities"]
) -> Float32[np.ndarray, "rows inputs"]:
    """Votes side by side, made as large as flags, then the state of each modality as 0 and 1."""
    flags = np.eye(STATES, dtype=np.float32)[states]
    return np.hstack([VOTE_SCALE * votes.reshape(len(votes), -1), flags.reshape(len(votes), -1)])


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """Evidence -> embedding, for any subset of modalities, of any cell and place with such tokens.

    See the module for the idea. With t_m the tokens of modality m as `Reader` reads them, n_m and
    f_m their means over the near and the far surroundings (`Evidence`), and a, b the settings
    `near` and `fill`, its vote is P_m s_m + W_m w_m + p_m, where

    - s_m = (1 - a) r t_m + (1 - (1 - a) r) n_m where the cell has m, with r the trust in a token
      that is made of few points or trips (`Reader.trust`); b n_m where only neighbours have it,
      else ¾ b f_m;
    - w_m is the mean over the wide surroundings, p_m whether the cell has m;
    - P, W, p are blocks of the principal axes of all of this side by side (of its covariance and
      `persistence` times that of its means over neighbours), scaled so that the
      j-th dimension has the standard deviation σ_j (σ_j / σ_1)^`emphasis`.
    """

    modalities: tuple[str, ...]
    readers: Mapping[str, Reader]
    flow_map: FlowMap | None  # of the one place it was fitted on; None: of several, see `fit`
    shared: Mapping[str, tuple[str, ...]] | None  # columns in common, where of several places
    resolution: int  # of the cells: counts of a cell grow with its area
    places: tuple[str, ...]  # names of those it was fitted on
    axes: Mapping[str, Float32[np.ndarray, "_ dims"]]  # `<m>.smooth`, `<m>.wide`, `<m>.present`
    means: Mapping[str, Float32[np.ndarray, " _"]]  # of the same columns
    settings: FusionConfig
    network: Network | None = None  # None: not trained

    @classmethod
    def fit(cls, places: Sequence[Place], settings: FusionConfig) -> "Fusion":
        """Find the linear part. No training, no labels.

        Of one place all columns are used. Of several, those that mean the same in all (see
        `baselines.shared_columns`), their cells count alike, and `wide` is 0.
        """
        if not places:
            raise ConfigError("no place to make a model of: name one or more.")
        shared = None
        flow_map = None
        if len(places) > 1:
            # Wide surroundings tell one city from another: within each they help a little, but
            # what a probe learned in one then holds less in the other (New York to Chicago, share
            # with BA: R² .04 with them, .59 without).
            settings = replace(settings, wide=0.0)
            numbered = enumerate(places, 1)  # variations of one place have one name
            shared = shared_columns({f"{i}: {place.name}": place for i, place in numbered})
            modalities = tuple(shared)
        else:
            modalities = places[0].modalities
            if places[0].graph is not None:
                flow_map = FlowMap.fit(places[0].graph, FLOW_DIMS, seed=settings.seed)
        readers = {}
        for name in modalities:
            tables = [_table(place, name, flow_map, shared) for place in places]
            readers[name] = Reader.fit(
                np.concatenate([one[0] for one in tables]),
                np.concatenate([one[1] for one in tables]),
                tables[0][2],
                tables[0][3],
            )
        unfinished = cls(
            modalities=modalities,
            readers=readers,
            flow_map=flow_map,
            shared=shared,
            resolution=places[0].resolution,
            places=tuple(place.name for place in places),
            axes={},
            means={},
            settings=settings,
        )
        gathered = [unfinished.evidence(place, spatial_kernel(place.cells)) for place in places]
        blocks: dict[str, np.ndarray] = {}
        for name in modalities:
            each = [_blocks(one[name], settings) for one in gathered]
            for kind in each[0]:
                blocks[f"{name}.{kind}"] = np.concatenate([one[kind] for one in each])
        del gathered, each  # of a nation these are gigabytes
        means = {name: block.mean(0, dtype=np.float64) for name, block in blocks.items()}
        weight = _weights(blocks, means, settings)
        widths = [block.shape[1] for block in blocks.values()]
        stacked = np.hstack(
            [
                ((block - means[name]) * weight[name.rsplit(".", 1)[1]]).astype(np.float32)
                for name, block in blocks.items()
            ]
        )
        del blocks
        # What neighbours share is less of an accident than what varies from cell to cell: means
        # over neighbours stand beside the cells when the axes are chosen.
        ends = np.cumsum([len(place.cells) for place in places])[:-1]
        around = [
            spatial_kernel(place.cells) @ part
            for place, part in zip(places, np.split(stacked, ends), strict=True)
        ]
        lasting = np.float32(np.sqrt(settings.persistence)) * centred(np.concatenate(around))
        del around
        axes = principal_axes(np.concatenate([stacked, lasting]), settings.dims)
        if axes.shape[1] == 0:
            names = ", ".join(place.name for place in places)
            raise ConfigError(
                f"no cell of {names} differs from another in {', '.join(modalities)}: there is "
                "nothing to tell them apart by. Add a modality, or cells."
            )
        spread = (stacked @ axes).std(0)
        axes = axes * (spread / spread[0]) ** settings.emphasis
        return cls(
            modalities=modalities,
            readers=readers,
            flow_map=flow_map,
            shared=shared,
            resolution=places[0].resolution,
            places=tuple(place.name for place in places),
            axes={
                name: (part * weight[name.rsplit(".", 1)[1]]).astype(np.float32)
                for name, part in zip(means, np.split(axes, np.cumsum(widths)[:-1]), strict=True)
            },
            means={name: mean.astype(np.float32) for name, mean in means.items()},
            settings=settings,
        )

    @property
    def dims(self) -> int:
        """Length of an embedding."""
        return int(next(iter(self.axes.values())).shape[1])

    def evidence(self, place: Place, kernel: sparse.csr_array) -> dict[str, Evidence]:
        """What each modality of the model says at and around the cells of a place.

        A modality that the place does not have is present nowhere. `kernel` is one step of
        smoothing over the cells.
        """
        if place.resolution != self.resolution:
            raise ConfigError(
                f"{place.name} has cells of resolution {place.resolution}, the model is of "
                f"{self.resolution}: counts of a cell grow with its area. Tokenize the place at "
                f"{self.resolution}, or train a model on it."
            )
        found = {}
        for name in self.modalities:
            own, present, trust = self.read(place, name)
            found[name] = Evidence.gather(own, present, kernel, trust)
        return found

    def read(
        self, place: Place, name: str
    ) -> tuple[
        Float32[np.ndarray, "cells _"], Bool[np.ndarray, "cells"], Float32[np.ndarray, "cells"]
    ]:
        """The tokens of one modality as the model reads them, where there are any, their trust."""
        reader = self.readers[name]
        if name not in place.modalities:
            own = np.zeros((len(place.cells), reader.dims), np.float32)
            return own, np.zeros(len(own), bool), np.ones(len(own), np.float32)
        # Of a table the reader takes the columns that it knows, or says which is missing.
        shared = self.shared if name == MOBILITY else None
        values, present, columns, _ = _table(place, name, self.flow_map, shared)
        own = reader(values, present, columns, what=f"{name} of {place.name}")
        return own, present, reader.trust(values, columns, thin=self.settings.thin)

    def said(
        self, name: str, one: Evidence, state: int = KNOWN
    ) -> Float32[np.ndarray, "cells dims"]:
        """The vote of a modality by its evidence, KNOWN or (`Evidence.without_own`) HIDDEN."""
        blocks = _blocks(one, self.settings)
        vote = self._vote(name, "smooth", blocks["smooth"]) + self._vote(
            name, "wide", blocks["wide"]
        )
        if state == HIDDEN:  # not that there is none: the presence is at its mean
            return vote
        return vote + self._vote(name, "present", blocks["present"])

    def votes(self, place: Place, states: Collection[int] = (KNOWN, HIDDEN, ALONE, WORDS)) -> Votes:
        """What each modality says of each cell, in the states that are asked for."""
        of_state: dict[int, dict[str, np.ndarray]] = {KNOWN: {}, HIDDEN: {}, ALONE: {}, WORDS: {}}
        present = {}
        kernel = spatial_kernel(place.cells)
        for name, one in self.evidence(place, kernel).items():
            if KNOWN in states:
                of_state[KNOWN][name] = self.said(name, one)
            if HIDDEN in states:
                of_state[HIDDEN][name] = self.said(name, one.without_own(kernel), HIDDEN)
            if ALONE in states:
                of_state[ALONE][name] = self._alone(name, one.own)
            words = self._text_of(name)
            if WORDS in states and words.any() and name in place.tables:
                # As `alone`, with every other column at its mean.
                values, here = place.tables[name].aligned(place.cells)
                reader = self.readers[name]
                order = [place.tables[name].columns.index(one) for one in reader.columns]
                text = np.where(words, values[:, order] - reader.mean, 0) @ reader.axes
                text = np.where(here[:, None], text, 0).astype(np.float32)
                of_state[WORDS][name] = self._alone(name, text)
            present[name] = one.present
        return Votes(modalities=self.modalities, dims=self.dims, of_state=of_state, present=present)

    def combine(
        self,
        votes: Float32[np.ndarray, "rows modalities dims"],
        states: Int8[np.ndarray, "rows modalities"],
    ) -> Float32[np.ndarray, "rows dims"]:
        """Sum of the votes, corrected where the model is trained and something is not known."""
        total = votes.sum(1)
        return total if self.network is None else total + self.network(votes, states)

    def embed(
        self, place: Place, *, states: Mapping[str, int] | None = None
    ) -> Float32[np.ndarray, "cells dims"]:
        """Vectors of all cells of a place.

        states : modality -> state in which it is taken at every cell; KNOWN where not named, GONE
            where the place does not have the modality at all
        """
        named = dict(states or {})
        if unknown := sorted(set(named) - set(self.modalities)):
            raise ConfigError(
                f"the model has no modality {unknown[0]!r}; it has {', '.join(self.modalities)}."
            )
        taken = np.array(
            [
                named.get(name, KNOWN if name in place.modalities else GONE)
                for name in self.modalities
            ],
            np.int8,
        )
        votes = self.votes(place, set(taken.tolist()))
        rows = np.arange(len(place.cells))
        made = np.empty((len(rows), self.dims), np.float32)
        for part in np.array_split(rows, max(1, len(rows) // 16_384)):
            here = np.broadcast_to(taken, (len(part), len(taken))).copy()
            made[part] = self.combine(votes.chosen(part, here), here)
        return made

    def of_token(
        self, name: str, tokens: Float32[np.ndarray, "n columns"], *, words: bool = False
    ) -> Float32[np.ndarray, "n dims"]:
        """Where tokens of one modality lie that were brought along: an image, or (words) a text.

        tokens : all columns of the modality in the order of its reader; with `words` the text
            columns alone, the others stand at their mean
        """
        reader = self.readers[name]
        text = self._text_of(name)
        centred = tokens - (reader.mean[text] if words else reader.mean)
        read = centred @ (reader.axes[text] if words else reader.axes)
        votes = np.zeros((len(tokens), len(self.modalities), self.dims), np.float32)
        column = self.modalities.index(name)
        votes[:, column] = self._alone(name, read.astype(np.float32))
        states = np.full((len(tokens), len(self.modalities)), GONE, np.int8)
        states[:, column] = WORDS if words else ALONE
        return self.combine(votes, states)

    def _vote(self, name: str, kind: str, block: np.ndarray) -> Float32[np.ndarray, "cells dims"]:
        key = f"{name}.{kind}"
        return ((block - self.means[key]) @ self.axes[key]).astype(np.float32)

    def _alone(self, name: str, read: np.ndarray) -> Float32[np.ndarray, "cells dims"]:
        return (read @ self.axes[f"{name}.smooth"]).astype(np.float32)

    def _text_of(self, name: str) -> Bool[np.ndarray, " columns"]:
        return np.array(
            [column.startswith(TEXT_PREFIX) for column in self.readers[name].columns], bool
        )

    def save(self, path: Path | str) -> None:
        """Write as one safetensors file, atomically."""
        tensors: dict[str, np.ndarray] = {}
        for name, reader in self.readers.items():
            for one in ("mean", "axes", "usual"):
                tensors[f"reader.{name}.{one}"] = getattr(reader, one)
        tensors |= {f"axes.{name}": one for name, one in self.axes.items()}
        tensors |= {f"mean.{name}": one for name, one in self.means.items()}
        if self.flow_map is not None:
            tensors["flows.cells"] = self.flow_map.cells
            tensors |= {f"flows.{name}": one for name, one in self.flow_map.partners.items()}
        if self.network is not None:
            tensors |= {
                f"network.{name}": getattr(self.network, name)
                for name in Network.__dataclass_fields__
            }
        header = {
            "modalities": list(self.modalities),
            "columns": {name: list(one.columns) for name, one in self.readers.items()},
            "shared": {name: list(one) for name, one in (self.shared or {}).items()},
            "resolution": self.resolution,
            "settings": self.settings.to_dict(),
            "places": list(self.places),
        }
        with atomic_path(path) as temporary:
            save_file(
                {name: np.ascontiguousarray(one) for name, one in tensors.items()},
                temporary,
                metadata={"mobclip": json.dumps(header)},
            )

    @classmethod
    def load(cls, path: Path | str) -> "Fusion":
        """Read what `save` wrote; `ArtefactError` if it is missing or damaged."""
        try:
            with safe_open(path, framework="numpy") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                header = json.loads(file.metadata()["mobclip"])
            return cls._from(tensors, header)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, ConfigError) as error:
            raise ArtefactError(
                f"{path} is missing or no model of mobclip ({error}). Run `mobclip train` again."
            ) from error

    @classmethod
    def _from(cls, tensors: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> "Fusion":
        def under(prefix: str) -> dict[str, np.ndarray]:
            return {
                name.removeprefix(prefix): one
                for name, one in tensors.items()
                if name.startswith(prefix)
            }

        flows, network = under("flows."), under("network.")
        cells = flows.pop("cells", None)
        shared: dict[str, tuple[str, ...]] = {
            name: tuple(one) for name, one in header["shared"].items()
        }
        return cls(
            modalities=tuple(header["modalities"]),
            readers={
                name: Reader(
                    columns=tuple(header["columns"][name]),
                    mean=tensors[f"reader.{name}.mean"],
                    axes=tensors[f"reader.{name}.axes"],
                    usual=tensors[f"reader.{name}.usual"],
                )
                for name in header["modalities"]
            },
            flow_map=None if cells is None else FlowMap(cells=cells, partners=flows),
            shared=shared or None,
            resolution=header["resolution"],
            places=tuple(header["places"]),
            axes=under("axes."),
            means=under("mean."),
            settings=FusionConfig.from_dict(header["settings"]),
            network=Network(**network) if network else None,
        )


FUSION_FILE = "fusion.safetensors"  # in the folder of a run: the whole model


def embed(place: Place, folder: Path | str, *, name: str) -> Embeddings:
    """Embeddings of a place by a trained model, which may have been trained on others.

    Raises
    ------
    ConfigError : the model is of one other place. Its text and image columns are fitted to that
        place: the same names would mean something else here
    """
    fusion = Fusion.load(Path(folder) / FUSION_FILE)
    if fusion.shared is None and place.name not in fusion.places:
        only = fusion.places[0]
        raise ConfigError(
            f"the model in {folder} was trained on {only} alone: its text and image columns mean "
            f"something else in {place.name}. Train one on several places: "
            f"`mobclip train {only} --with {place.name}`."
        )
    return Embeddings(
        name=name,
        cells=place.cells,
        vectors=np.ascontiguousarray(fusion.embed(place), np.float32),
        present=place.present,
        provenance={
            "recipe": "mobclip: evidence of all modalities, filled in, smoothed and fused",
            "modalities": list(fusion.modalities),
            "settings": fusion.settings.to_dict(),
        },
    )


def _table(
    place: Place,
    name: str,
    flow_map: FlowMap | None,
    shared: Mapping[str, tuple[str, ...]] | None,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], np.ndarray]:
    """Values, presence, column names and scale groups of one modality of a place."""
    if shared is not None:
        values, present = shared_evidence(place, name, shared[name])
        return values, present, shared[name], np.full(len(shared[name]), "")
    if name == MOBILITY:
        assert place.graph is not None
        assert flow_map is not None
        values, columns, groups = flow_map.of(place.graph)
        return values, place.graph.present, columns, groups
    table = place.tables[name]
    values, present = table.aligned(place.cells)
    text = ["text" if column.startswith(TEXT_PREFIX) else "" for column in table.columns]
    return values, present, table.columns, np.array(text)


def _around(one: Evidence, settings: FusionConfig) -> Float32[np.ndarray, "cells dims"]:
    """What the surroundings let one expect of a cell's own token, taken back towards the mean."""
    near = settings.fill * one.near
    return np.where(one.near_known[:, None], near, FARTHER * settings.fill * one.far)


def _blocks(one: Evidence, settings: FusionConfig) -> dict[str, Float32[np.ndarray, "cells _"]]:
    share = (1 - settings.near) * one.trust[:, None]
    own = share * one.own + (1 - share) * one.near
    return {
        "smooth": np.where(one.present[:, None], own, _around(one, settings)).astype(np.float32),
        "wide": one.wide[:, :WIDE_DIMS],
        "present": one.present[:, None].astype(np.float32),
    }


def _weights(
    blocks: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray], settings: FusionConfig
) -> dict[str, float]:
    """Kind of block -> its weight: all blocks of a kind have together the deviation that is set."""
    wanted = {"smooth": 1.0, "wide": settings.wide, "present": settings.presence}
    weights = {}
    for kind, share in wanted.items():
        total = sum(
            float(((block - means[name]) ** 2).mean(0).sum())
            for name, block in blocks.items()
            if name.endswith(f".{kind}")
        )
        weights[kind] = float(share / np.sqrt(total)) if total > 1e-12 else 0.0
    # A mean over far is never louder than what it is the mean of: in a place that is not much wider
    # than the surroundings all cells have nearly the same one.
    weights["wide"] = min(weights["wide"], weights["smooth"])
    return weights

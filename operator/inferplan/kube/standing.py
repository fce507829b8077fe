"""The plan that stands, as its status names it, and whether the cluster still has a place for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from inferplan.domain.cluster import GpuNode, Inventory
from inferplan.domain.hardware import Terms
from inferplan.domain.model import Dtype, Quantization
from inferplan.domain.operation import Toleration
from inferplan.domain.plan import Plan
from inferplan.domain.scenario import Pin
from inferplan.domain.taints import repelling
from inferplan.kube.claims import Kind, kind_of
from inferplan.kube.client import Body

AS_PLANNED = "where the plan was placed"


@dataclass(frozen=True, slots=True)
class Place:
    """Machines of one kind that a plan was placed on, at the price that they had then."""

    kind: Kind
    count: int
    gpus_per_machine: int
    gpus_used: int
    price_usd_per_hour: Decimal
    price_as_of: str
    price_source: str

    @classmethod
    def read(cls, written: Body) -> Place:
        """Read it from a status.

        Raises
        ------
        ArithmeticError, KeyError, TypeError, ValueError
            If another version has written it otherwise.
        """
        kind = (str(written[name]) for name in ("provider", "region", "instanceType", "terms"))
        provider, region, machine, terms = kind
        return cls(
            kind=(provider, region, machine, Terms(terms).value),
            count=int(written["count"]),
            gpus_per_machine=int(written["gpusPerInstance"]),
            gpus_used=int(written["gpusUsed"]),
            price_usd_per_hour=Decimal(str(written["usdPerHour"])),
            price_as_of=str(written["asOf"]),
            price_source=str(written["priceSource"]),
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """The plan that stands, by what names it in a status."""

    hash: str
    model: str
    repository: str
    quantization: str
    method: str
    engine: str
    gpu: str
    tensor_parallel: int
    pipeline_parallel: int
    replicas: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    kv_cache_type: str
    source: str
    """Cluster, Market or Owned."""
    kinds: frozenset[Kind]
    """Machines that it stands on: provider, region, instance type, terms."""
    places: tuple[Place, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, plan: Plan) -> Standing:
        """Name a plan."""
        chosen = plan.configuration
        places = tuple(
            Place(
                kind=(place.provider, place.region, place.instance_type, place.terms.value),
                count=place.count,
                gpus_per_machine=place.gpus_per_instance,
                gpus_used=place.gpus_used,
                price_usd_per_hour=place.price_usd_per_hour,
                price_as_of=place.as_of,
                price_source=place.source,
            )
            for place in plan.cost.placements
        )
        return cls(
            hash=plan.hash,
            model=chosen.model.id,
            repository=chosen.checkpoint.repository,
            quantization=chosen.checkpoint.quantization.value,
            method=chosen.method.id,
            engine=chosen.engine.name,
            gpu=chosen.gpu.id,
            tensor_parallel=chosen.tp_size,
            pipeline_parallel=chosen.pp_size,
            replicas=chosen.replicas,
            max_num_seqs=chosen.max_num_seqs,
            max_num_batched_tokens=chosen.max_num_batched_tokens,
            max_model_len=chosen.max_model_len,
            kv_cache_type=chosen.kv_dtype.value,
            source=plan.source,
            kinds=frozenset(place.kind for place in places),
            places=places,
        )

    @classmethod
    def read(cls, plan: Body) -> Standing | None:
        """Read it from a status; None if another version has written it otherwise."""
        try:
            places = tuple(Place.read(one) for one in plan["cost"]["placements"])
            return cls(
                hash=str(plan["hash"]),
                model=str(plan["model"]),
                repository=str(plan["repository"]),
                quantization=str(plan["quantization"]),
                method=str(plan["method"]),
                engine=str(plan["engine"]),
                gpu=str(plan["gpu"]),
                tensor_parallel=int(plan["tensorParallel"]),
                pipeline_parallel=int(plan["pipelineParallel"]),
                replicas=int(plan["replicas"]),
                max_num_seqs=int(plan["maxNumSeqs"]),
                max_num_batched_tokens=int(plan["maxNumBatchedTokens"]),
                max_model_len=int(plan["maxModelLen"]),
                kv_cache_type=str(plan["kvCacheType"]),
                source=str(plan["source"]),
                kinds=frozenset(place.kind for place in places),
                places=places,
            )
        except (ArithmeticError, KeyError, TypeError, ValueError):
            return None

    def deploys_the_same_as(self, plan: Plan) -> bool:
        """Tell whether a plan is this one, wherever it is placed."""
        return replace(Standing.of(plan), hash=self.hash, source=self.source, kinds=self.kinds) == self

    def pin(self, asked: Pin | None) -> Pin | None:
        """Ask for exactly this, started as the scenario's own pin says; None if a name means nothing any more."""
        if self.quantization not in set(Quantization) or self.kv_cache_type not in set(Dtype):
            return None
        return replace(
            asked or Pin(),
            model=self.model,
            quantization=Quantization(self.quantization),
            gpu=self.gpu,
            gpus_per_replica=self.tensor_parallel * self.pipeline_parallel,
            replicas=self.replicas,
            max_num_seqs=self.max_num_seqs,
            max_model_len=self.max_model_len,
            engine=self.engine.casefold(),
            kv_dtype=Dtype(self.kv_cache_type),
        )

    def machines(self, inventory: Inventory | None) -> Inventory:
        """The machines that it was placed on, as if all were there and had room for it, at the prices of now.

        Parameters
        ----------
        inventory
            The cluster as it is, for the prices; where it has no machine of the kind now, the price is the old one.
        """
        there = () if inventory is None else inventory.nodes
        return Inventory(
            tuple(node for place in self.places for node in self._machines(place, there)),
            AS_PLANNED,
        )

    def _machines(self, place: Place, there: Iterable[GpuNode]) -> Iterable[GpuNode]:
        provider, region, machine, terms = place.kind
        slots = -(-place.gpus_used // self.tensor_parallel)
        free = -(-slots // max(1, place.count)) * self.tensor_parallel
        same = [
            (node.price_usd_per_hour, node.price_as_of, node.price_source)
            for node in there
            if node.gpu == self.gpu and kind_of(node) == place.kind and node.price_usd_per_hour is not None
        ]
        price, as_of, source = min(same, default=(place.price_usd_per_hour, place.price_as_of, place.price_source))
        for number in range(place.count):
            yield GpuNode(
                name=f"{machine} {number:03}",
                gpu=self.gpu,
                product_label="",
                selector=(),
                gpus_allocatable=max(free, place.gpus_per_machine),
                gpus_requested=max(0, place.gpus_per_machine - free),
                usable=True,
                reason="",
                instance_type=machine,
                region=region,
                provider=provider,
                terms=Terms(terms),
                price_usd_per_hour=price,
                price_source=source,
                price_as_of=as_of,
            )

    def has_room(self, inventory: Inventory, mine: Mapping[str, int], tolerations: Iterable[Toleration]) -> bool:
        """Tell whether its pods run, or could be placed.

        Parameters
        ----------
        inventory
            As the scenario may plan on it: what its own pods hold counts as free.
        mine
            GPUs that its pods hold, by node: a pod that is on a node has its GPUs, whatever becomes of the node.
        tolerations
            The scenario's own.
        """
        slot, slots = self.tensor_parallel, self.replicas * self.pipeline_parallel
        if sum(mine.values()) >= slot * slots:
            return True
        own = tuple(tolerations)
        free = 0
        for node in inventory.nodes:
            held = mine.get(node.name, 0) // slot
            open_to_all = node.gpu == self.gpu and not repelling(node, own)
            free += max(held, node.gpus_free // slot if open_to_all else 0)
        return free >= slots

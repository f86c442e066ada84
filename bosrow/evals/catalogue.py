"""Every benchmark of items by its name, and where its items come from. A new one is added here."""

from pathlib import Path

from bosrow.errors import UserError
from bosrow.evals.benchmark import Benchmark
from bosrow.evals.eval_options import ItemOptions
from bosrow.evals.items import Item, ItemsOnHub, read_items
from bosrow.evals.tasks import arc_easy, blimp, ewok, hellaswag, winogrande

MAKERS = {
    "ewok": ewok.benchmark,
    "blimp": blimp.benchmark,
    "arc_easy": arc_easy.benchmark,
    "winogrande": winogrande.benchmark,
}


def benchmark_of(name: str, options: ItemOptions) -> Benchmark:
    """The benchmark called `name`, by the rule that `options` ask for."""
    if name == "hellaswag":
        hub = ItemsOnHub(
            dataset=options.hellaswag_dataset,
            config=options.hellaswag_dataset_config,
            split=options.hellaswag_split,
            local_files_only=options.hellaswag_local_files_only,
        )
        return hellaswag.benchmark(options.hellaswag_rule, hub)
    return MAKERS[name]()


def load_benchmark(name: str, options: ItemOptions) -> tuple[Benchmark, list[Item]]:
    """A benchmark with its items, from --NAME_data where that is given, else from the Hub."""
    benchmark = benchmark_of(name, options)
    local: Path | None = getattr(options, f"{name}_data")
    most = options.hellaswag_max_examples if name == "hellaswag" else 0
    try:
        return benchmark, read_items(local or benchmark.hub, benchmark.parse, most)
    except UserError as error:
        if local is not None:
            raise
        raise UserError(f"{error}. A local file is given by --{name}_data") from None

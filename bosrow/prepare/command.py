"""`bosrow prepare`: begin a data set, go on with one, or say that it is complete.

After an interruption or a kill the same command goes on from the last checkpoint, and gives the same bytes.
"""

from contextlib import ExitStack
from pathlib import Path

from bosrow.dataset.manifest import META, read_manifest
from bosrow.dataset.provenance_layout import FOLDER as PROVENANCE
from bosrow.dataset.state_file import STATE, State, read_state
from bosrow.errors import DataSetError, Interrupted
from bosrow.files import make_folder
from bosrow.lock import Hold, folder_lock
from bosrow.prepare.disk_space import check_space, warn_of_val_shards
from bosrow.prepare.manifest_content import identity
from bosrow.prepare.out_folder import check_folder, check_not_inside, delete_all_but, files_of
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.prepare.resume import parse_state, resume, source_on_hub
from bosrow.prepare.run import Run
from bosrow.prepare.run_tokenizer import keep_tokenizer, run_tokenizer, say_tokenizer, with_engine
from bosrow.prepare.same_run import check_same, upgraded_identity, with_recorded_split
from bosrow.prepare.summary import print_summary
from bosrow.signals import Stopped, caught_signals
from bosrow.sources.find import find_source
from bosrow.sources.source import Source
from bosrow.sources.token_files import check_tokenizer
from bosrow.strict_json import Invalid
from bosrow.tokenizers.tokenizer import Tokenizer


def prepare(options: PrepareOptions) -> None:
    """Run `bosrow prepare`. Raises Interrupted after a signal, when the state file is up to date."""
    folder = options.out_dir
    check_folder(folder)
    with ExitStack() as stack:
        stop = stack.enter_context(caught_signals())
        try:
            with stop.at_once():
                tokenizer = run_tokenizer(options)
                begun = not options.fresh and ((folder / STATE).exists() or (folder / META).exists())
                # A source on the Hub keeps the revision that it was begun with, so it is not looked up again.
                source = None if begun and not options.data_files and options.dataset else find_source(options)
                if source is not None:
                    check_not_inside(folder, source)
                    check_tokenizer(source, tokenizer)
                make_folder(folder)
                hold = stack.enter_context(folder_lock(folder))
            if options.fresh:
                delete_all_but(folder, keep=set())
            if (folder / META).exists():
                _say_complete(folder, options, source, tokenizer)
                return
            saved = read_state(folder)
            if saved is None:
                with stop.at_once():
                    source = source or find_source(options)
                run = _begin(options, tokenizer, source, hold)
            else:
                run = _go_on(options, tokenizer, source, saved, hold)
            if run.document_log:
                make_folder(folder / PROVENANCE)
            say_tokenizer(run.tokenizer, run.source)
            run.read(stop)
        except Stopped:
            raise Interrupted(
                f"stopped by {stop.name} while starting; nothing is lost, the same command goes on"
            ) from None
        meta = run.finish()
    print_summary(folder, meta)


def _say_complete(folder: Path, options: PrepareOptions, source: Source | None, tokenizer: Tokenizer) -> None:
    manifest = read_manifest(folder)
    recorded = manifest.origin.identity
    try:
        options = with_recorded_split(options, recorded)
    except Invalid as error:
        raise DataSetError(f"{folder / META}: {error}") from None
    check_same(folder, upgraded_identity(recorded, options), identity(options, source, tokenizer))
    delete_all_but(folder, files_of(manifest))  # a kill just after meta.json was written leaves the state file
    print(f"{folder} is complete, made from this source by these options; nothing to do (--fresh starts over)")


def _begin(options: PrepareOptions, tokenizer: Tokenizer, source: Source, hold: Hold) -> Run:
    """A new run. Its state file is written before anything else."""
    delete_all_but(options.out_dir, keep=set())
    check_space(options, source, tokenizer, 0.0)
    warn_of_val_shards(options, source, tokenizer)
    run = Run(options, with_engine(tokenizer, options.engine, source), source, hold)
    run.checkpoint()
    keep_tokenizer(tokenizer.spec, options.out_dir)
    return run


def _go_on(options: PrepareOptions, tokenizer: Tokenizer, source: Source | None, saved: State, hold: Hold) -> Run:
    """The run that `saved` records. The options say where the source is; for the Hub, the state says it."""
    state = parse_state(options, saved)
    options = with_recorded_split(options, state.identity)
    source = source or source_on_hub(options.out_dir, state, options)
    run = Run(options, with_engine(tokenizer, options.engine, source), source, hold)
    resume(run, state, saved.tokens)
    check_space(options, run.source, tokenizer, run.share)
    return run

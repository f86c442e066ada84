"""`bosrow compare` on run folders whose figures are known: verdicts, rules, and what a user does wrong."""

import json
import shutil

import numpy as np
import pytest
from compare_folders import STEPS, write_experiment, write_run
from scipy import stats

from bosrow.cli import main


def compare(runs, out, *flags):
    return main(["compare", *map(str, runs), "--out", str(out), *flags])


def report(out):
    return json.loads((out / "report.json").read_text())


def two_arms(place, *, seeds=(1, 2, 3, 4), effect=-0.02, **more):
    runs = [write_run(place / f"stream_{seed}", seed, **more) for seed in seeds]
    return [*runs, *(write_run(place / f"crop_{seed}", seed, policy="crop", effect=effect, **more) for seed in seeds)]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """Four arms of four seeds and an A/A group, compared once."""
    place = tmp_path_factory.mktemp("experiment")
    runs = write_experiment(place / "runs")
    assert compare(runs, place / "out") == 0
    return place / "out"


@pytest.mark.parametrize(("effect", "verdict"), [(-0.02, "better"), (0.02, "worse"), (0.0, "inconclusive")])
def test_the_verdict_follows_the_difference(tmp_path, capsys, effect, verdict):
    runs = two_arms(tmp_path, effect=effect)
    assert compare(runs, tmp_path / "out") == 0
    content = report(tmp_path / "out")
    assert content["verdict"] == verdict
    assert content["reasons"] == []
    assert verdict in capsys.readouterr().out
    if verdict == "inconclusive":
        assert content["to_decide"]["seeds"] > 4
        assert "seeds an arm find it in 80% of cases" in content["to_decide"]["text"]


def test_the_difference_is_welchs_over_the_runs_own_figures(tmp_path):
    runs = two_arms(tmp_path)
    compare(runs, tmp_path / "out")
    primary = report(tmp_path / "out")["primary"]
    finals = [
        json.loads((run / "evaluation" / "summary.json").read_text())["checkpoints"][0]["results"][0] for run in runs
    ]
    values = np.array([final["bits_per_byte"] for final in finals])
    expected = stats.ttest_ind(values[4:], values[:4], equal_var=False)
    assert primary["effect"] == pytest.approx(values[4:].mean() - values[:4].mean())
    assert primary["p_value"] == pytest.approx(expected.pvalue)
    assert [primary["low"], primary["high"]] == pytest.approx(list(expected.confidence_interval()))
    assert primary["over_items"]["value"] == pytest.approx(primary["effect"])
    assert primary["over_items"]["items"] == 60


def test_an_experiment_answers_the_four_questions(experiment):
    content = report(experiment)
    assert content["verdict"] == "better"
    assert [arm["label"] for arm in content["arms"]] == ["A stream", "B crop", "C stream of B", "D keep"]
    pairs = [(pair["treatment"], pair["control"]) for pair in content["comparisons"]]
    assert pairs[0] == ("B crop", "A stream")
    assert set(pairs[1:]) == {("B crop", "C stream of B"), ("C stream of B", "A stream"), ("D keep", "A stream")}
    assert len(content["questions"]) == 4
    effects = [pair["figures"]["bits_per_byte"]["effect"] for pair in content["comparisons"][:3]]
    assert effects[0] == pytest.approx(effects[1] + effects[2])
    explained = " ".join(content["questions"][3]["answers"])
    assert "alignment helps on the same tokens" in explained


def test_the_noise_floor_is_one_arm_against_itself(experiment):
    noise = report(experiment)["noise_floor"]
    assert noise["measured"]
    assert noise["arm"] == "A stream"
    assert (noise["control_seeds"], noise["treatment_seeds"]) == (4, 4)
    assert abs(noise["effect"]) < 0.004
    page = (experiment / "report.html").read_text()
    assert "A/A: 4 and 4 other seeds of the same arm" in page


def test_all_tests_but_the_primary_one_are_one_family(experiment):
    content = report(experiment)
    tested = {figure["key"] for figure in content["figures"] if figure["tested"]}
    found = [
        (place, key, result)
        for place, pair in enumerate(content["comparisons"])
        for key, result in pair["figures"].items()
        if key in tested
    ]
    family = [result for place, key, result in found if not (place == 0 and key == "bits_per_byte")]
    assert "p_holm" not in content["comparisons"][0]["figures"]["bits_per_byte"]
    smallest = min(family, key=lambda result: result["p_value"])
    assert smallest["p_holm"] == pytest.approx(min(1, smallest["p_value"] * len(family)))
    assert all(result["p_holm"] >= result["p_value"] for result in family)


def test_the_protocols_figures_are_all_there(experiment):
    titles = " ".join(figure["title"] for figure in report(experiment)["figures"])
    for figure in (
        *(
            "training loss",
            "validation loss at step 40",
            "HellaSwag acc,",
            "HellaSwag acc_norm",
            "EWoK sum",
            "EWoK mean",
        ),
        *("tokens per second", "gradient norm", "loss on crop val rows", "loss on stream val rows"),
        *("with BOS", "without BOS"),
    ):
        assert figure in titles
    assert "crop fraction of the data" in (experiment / "report.md").read_text()


def test_one_arm_alone_is_inconclusive_and_still_a_report(tmp_path):
    runs = [write_run(tmp_path / f"run_{seed}", seed) for seed in (1, 2, 3)]
    assert compare(runs, tmp_path / "out") == 0
    content = report(tmp_path / "out")
    assert content["verdict"] == "inconclusive"
    assert "one arm alone" in content["reasons"][0]
    assert "one arm alone" in (tmp_path / "out" / "report.html").read_text()


def test_fewer_than_three_seeds_are_inconclusive_by_rule(tmp_path):
    runs = two_arms(tmp_path, seeds=(1, 2), effect=-0.5)
    assert compare(runs, tmp_path / "out") == 0
    content = report(tmp_path / "out")
    assert content["verdict"] == "inconclusive"
    assert content["reasons"] == [f"{name} has 2 seeds; at least 3 are required" for name in ("stream", "crop")]
    assert content["primary"]["effect"] == pytest.approx(-0.5, abs=0.01)


def test_too_few_seeds_in_a_third_arm_are_told_there_and_decide_nothing_elsewhere(tmp_path):
    runs = [
        run for run in write_experiment(tmp_path / "runs", arms="ABC", noise=False) if run.name not in ("C_3", "C_4")
    ]
    assert compare(runs, tmp_path / "out") == 0
    content = report(tmp_path / "out")
    assert content["verdict"] == "better"
    findings = {pair["figures"]["bits_per_byte"].get("finding") for pair in content["comparisons"][1:]}
    assert findings == {"too few seeds"}
    assert "too few seeds to say" in content["questions"][3]["answers"][0]


def test_a_single_run_is_a_report_too(tmp_path):
    assert compare([write_run(tmp_path / "run", 1)], tmp_path / "out") == 0
    assert report(tmp_path / "out")["verdict"] == "inconclusive"


def test_a_missing_primary_figure_is_inconclusive_by_rule(tmp_path):
    runs = two_arms(tmp_path, evaluated=False, heldout=False)
    assert compare(runs, tmp_path / "out") == 0
    content = report(tmp_path / "out")
    assert content["verdict"] == "inconclusive"
    assert "the primary figure, is missing in" in content["reasons"][0]


def test_without_an_evaluation_what_training_evaluated_serves(tmp_path):
    runs = two_arms(tmp_path, evaluated=False)
    compare(runs, tmp_path / "out")
    content = report(tmp_path / "out")
    assert content["verdict"] == "better"
    assert content["primary"]["source"] == "evaluated in training, step 40"
    assert [row["step"] for row in content["equal_tokens"]] == [10, 20, 30, 40]


def test_figures_of_two_sources_are_never_mixed(tmp_path):
    runs = two_arms(tmp_path)
    shutil.rmtree(runs[0] / "evaluation")
    compare(runs, tmp_path / "out")
    assert report(tmp_path / "out")["primary"]["source"] == "evaluated in training, step 40"


def test_a_run_that_diverged_is_shown_and_not_dropped(tmp_path):
    runs = two_arms(tmp_path)
    change_last_line(runs[-1] / "scalars.jsonl", "scalars", train_loss_opt_step_mean=None)
    change_result(runs[-1], bits_per_byte=None)
    assert compare(runs, tmp_path / "out") == 0
    content = report(tmp_path / "out")
    assert content["verdict"] == "inconclusive"
    assert "not finite in crop_4" in content["reasons"][0]
    ill = {run["name"]: run["ailments"] for run in content["runs"]}
    assert "diverged: its last training loss is not finite" in ill["crop_4"]
    assert ill["crop_3"] == []
    assert "crop_4" in (tmp_path / "out" / "report.md").read_text()


def test_a_run_far_off_counts_like_any_other(tmp_path):
    runs = two_arms(tmp_path)
    change_result(runs[-1], bits_per_byte=2.5)
    compare(runs, tmp_path / "out")
    content = report(tmp_path / "out")
    assert content["primary"]["treatment_seeds"] == 4
    assert content["verdict"] == "inconclusive"
    (run,) = [run for run in content["runs"] if run["name"] == "crop_4"]
    assert "far off" in run["ailments"][0]


def test_a_run_that_has_not_ended_is_inconclusive_by_rule(tmp_path):
    runs = two_arms(tmp_path, evaluated=False)
    shutil.rmtree(runs[-1])
    runs[-1] = write_run(tmp_path / "short", 4, policy="crop", evaluated=False, steps=STEPS // 2)
    compare(runs, tmp_path / "out")
    content = report(tmp_path / "out")
    assert content["primary"]["source"] == "evaluated in training, step 20"
    assert "not ended: short" in content["reasons"]


@pytest.mark.parametrize(
    ("more", "knob"),
    [
        ({"model": {"n_embd": 32}}, "model.n_embd"),
        ({"options": {"max_train_steps": 80}}, "max_train_steps"),
        ({"options": {"learning_rate": 1e-3}}, "learning_rate"),
    ],
)
def test_runs_that_differ_in_what_is_trained_are_shown_in_red_and_inconclusive(tmp_path, capsys, more, knob):
    runs = two_arms(tmp_path)
    shutil.rmtree(runs[-1])
    write_run(
        runs[-1], 4, policy="crop", effect=-0.02, steps=more.get("options", {}).get("max_train_steps", STEPS), **more
    )
    assert compare(runs, tmp_path / "out") == 0
    content = report(tmp_path / "out")
    assert content["verdict"] == "inconclusive"
    assert any(f"differ in more than their data: {knob}: " in reason for reason in content["reasons"])
    assert f'<p class="bad">Differs: {knob}' in (tmp_path / "out" / "report.html").read_text()
    capsys.readouterr()
    assert compare(runs, tmp_path / "refused", "--strict") == 2
    told = capsys.readouterr().err
    assert knob in told
    assert "crop_4" in told
    assert not (tmp_path / "refused").exists()


def test_a_difference_in_how_it_was_run_is_shown_and_decides_nothing(tmp_path):
    runs = two_arms(tmp_path)
    shutil.rmtree(runs[-1])
    write_run(runs[-1], 9, policy="crop", effect=-0.02, options={"micro_batch_size": 4})
    compare(runs, tmp_path / "out")
    content = report(tmp_path / "out")
    assert content["verdict"] == "better"
    assert {one["knob"] for one in content["knobs"]["different"]} == {"seeds", "micro_batch_size"}
    assert any("seeds, micro_batch_size" in caveat for caveat in content["caveats"])
    assert compare(runs, tmp_path / "out", "--strict") == 2


def test_other_held_out_documents_are_no_comparison(tmp_path):
    runs = two_arms(tmp_path)
    change_result(runs[-1], documents=59)
    compare(runs, tmp_path / "out")
    content = report(tmp_path / "out")
    assert content["verdict"] == "inconclusive"
    assert "different held-out documents" in content["reasons"][0]


def test_arms_are_data_fingerprints(tmp_path):
    runs = [write_run(tmp_path / f"one_{seed}", seed, fingerprint="1" * 64) for seed in (1, 2, 3)]
    runs += [write_run(tmp_path / f"two_{seed}", seed, fingerprint="2" * 64, effect=0.02) for seed in (1, 2, 3)]
    compare(runs, tmp_path / "out")
    content = report(tmp_path / "out")
    assert [arm["label"] for arm in content["arms"]] == ["stream 11111111", "stream 22222222"]
    compare(runs, tmp_path / "out", "--control", "stream 22222222")
    assert report(tmp_path / "out")["verdict"] == "better"


def test_the_stream_arm_is_the_control_wherever_it_stands(tmp_path):
    runs = two_arms(tmp_path)
    compare(runs[::-1], tmp_path / "out")
    primary = report(tmp_path / "out")["primary"]
    assert (primary["treatment"], primary["control"]) == ("crop", "stream")


def test_a_torn_last_line_is_left_out(tmp_path):
    runs = two_arms(tmp_path)
    with open(runs[0] / "scalars.jsonl", "a") as file:
        file.write('{"type": "scalars", "st')
    assert compare(runs, tmp_path / "out") == 0


def damage_config(run):
    (run / "config.json").write_text('{"options": {"seed": "one"}}')


def damage_scalars(run):
    (run / "scalars.jsonl").write_text("not json\n")


def damage_arm(run):
    (run / "arm.json").write_text('{"arm": "A", "group": "other"}')


def damage_evaluation(run):
    (run / "evaluation" / "summary.json").write_text('{"checkpoints": [1]}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "is not a folder"),
        (lambda run: (run / "config.json").unlink(), "is no run folder: it has no config.json"),
        (lambda run: (run / "scalars.jsonl").unlink(), "is no run folder: it has no scalars.jsonl"),
        (lambda run: (run / "scalars.jsonl").write_text(""), "records no step"),
        (
            damage_config,
            "config.json: Expected int, got str - at config.options.seed; it was not written by 'bosrow train'",
        ),
        (damage_scalars, "line 1, is not a JSON object"),
        (damage_arm, "arm.json: Invalid enum value 'other' - at arm.group; "),
        (damage_evaluation, "is no summary of 'bosrow eval'"),
    ],
)
def test_a_folder_that_is_no_run_is_named(tmp_path, capsys, damage, message):
    runs = two_arms(tmp_path, seeds=(1,))
    damage(runs[1])
    assert compare(runs, tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert message in told
    assert "crop_1" in told
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()


def test_one_run_is_not_two(tmp_path, capsys):
    runs = two_arms(tmp_path, seeds=(1,))
    assert compare([*runs, runs[0]], tmp_path / "out") == 2
    assert "given twice" in capsys.readouterr().err
    copy = shutil.copytree(runs[0], tmp_path / "copy")
    assert compare([*runs, copy], tmp_path / "out") == 2
    assert "are seed 1 on the same data: one run twice" in capsys.readouterr().err


def test_wrong_flags_are_told_plainly(tmp_path, capsys):
    runs = two_arms(tmp_path, seeds=(1,))
    assert compare(runs, tmp_path / "out", "--control", "keep") == 2
    assert "--control 'keep' is no arm of these runs; there are: stream, crop" in capsys.readouterr().err
    assert compare(runs, tmp_path / "out", "--control", "crop", "--treatment", "crop") == 2
    assert "two arms are compared" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert compare(runs, tmp_path / "file") == 2
    assert "is a file; a folder was required" in capsys.readouterr().err


def test_arm_files_that_contradict_each_other_are_refused(tmp_path, capsys):
    runs = [
        write_run(tmp_path / letter, seed, arm={"arm": letter, "name": "stream"}) for seed, letter in enumerate("AC")
    ]
    assert compare(runs, tmp_path / "out") == 2
    assert "give its arm the letters A, C" in capsys.readouterr().err


def test_json_on_standard_output_is_the_report(tmp_path, capsys):
    runs = two_arms(tmp_path)
    assert compare(runs, tmp_path / "out", "--json") == 0
    assert json.loads(capsys.readouterr().out) == report(tmp_path / "out")


def change_last_line(path, kind, **values):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    last = max(place for place, line in enumerate(lines) if line["type"] == kind)
    lines[last] |= values
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def change_result(run, **values):
    path = run / "evaluation" / "summary.json"
    content = json.loads(path.read_text())
    content["checkpoints"][0]["results"][0] |= values
    path.write_text(json.dumps(content))

"""Experiments by name."""

import importlib

import pytest

from systolith.survey.figure import FIGURES, Options, SurveyError, run_figure


def test_unknown_experiments_are_refused_by_name(tmp_path):
    with pytest.raises(SurveyError, match="unknown figure 'nothing'"):
        run_figure("nothing", Options(cache=tmp_path), lambda text: None)


def test_every_experiment_is_there():
    for module, question in FIGURES.values():
        assert callable(importlib.import_module(f"systolith.survey.{module}").figure)
        assert question.endswith("?")

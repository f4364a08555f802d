"""A pytest plugin: a failing example is all that a mutation needs, hypothesis looks for no smaller one."""

from hypothesis import Phase, settings

settings.register_profile("no-shrinking", phases=[Phase.explicit, Phase.generate], report_multiple_bugs=False)
settings.load_profile("no-shrinking")

"""A pipeline whose rows go by way of a file system: two replicas of a step, and a global step."""

PASSED = """
@step(inputs=["n"], outputs=["twice"])
def twice(inputs: StepInput):
    mark("twice", inputs)
    for row in inputs:
        row["twice"] = 2 * row["n"]
    yield inputs

class Count(GlobalStep):
    @property
    def inputs(self):
        return ["twice"]

    @property
    def outputs(self):
        return ["of"]

    def process(self, inputs: StepInput):
        wait_for("go")
        yield [{**row, "of": len(inputs)} for row in inputs]

with Pipeline(name="passed") as pipeline:
    load = LoadDataFromDicts(data=[{"n": n, "text": "x" * 1000} for n in range(200)], batch_size=20)
    load >> twice(name="twice", input_batch_size=20, resources=StepResources(replicas=2)) >> Count(name="count")
"""

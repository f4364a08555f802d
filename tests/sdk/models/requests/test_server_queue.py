"""A server that queues instead of refusing is asked how long its queue is."""

from __future__ import annotations

import logging

import pytest

from distilmq.models import ClientvLLM, OpenAILLM
from distilmq.models.requests.server_queue import ServerQueue, metrics_url, queue_in
from tests.servers.providers import ProviderServer

VLLM = """
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m {x} 1"} 8.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 1.5e+01
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 7.0
"""
SGLANG = 'sglang:num_running_reqs{model_name="m"} 3.0\nsglang:num_queue_reqs{model_name="m"} 0.0\n'


@pytest.mark.parametrize(
    ("text", "queue"),
    [
        (VLLM, ServerQueue(12, 15)),
        (SGLANG, ServerQueue(3, 0)),
        ("python_info 1.0\nvllm:num_requests_running 3.0\n", None),
        ("<html>Welcome</html>", None),
    ],
)
def test_the_queue_is_found_in_what_servers_say(text: str, queue: ServerQueue | None) -> None:
    assert queue_in(text) == queue


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://gpu:8000/v1", "http://gpu:8000/metrics"),
        ("http://gpu:8000/v1/", "http://gpu:8000/metrics"),
        ("https://gpu.example/one/v1", "https://gpu.example/one/metrics"),
        ("https://api.openai.com/v1", None),
        ("https://openrouter.ai/api/v1", None),
        (None, None),
    ],
)
def test_providers_are_not_asked(base_url: str | None, url: str | None) -> None:
    assert metrics_url(base_url) == url


def ask(llm: OpenAILLM, count: int) -> None:
    outputs = llm.generate_outputs([[{"role": "user", "content": f"row {number}"}] for number in range(count)])
    assert len(outputs) == count


def test_no_more_is_sent_than_keeps_the_server_busy(
    provider_server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    provider_server.metrics, provider_server.slots, provider_server.latency = True, 8, 0.1
    llm = ClientvLLM(model="m", base_url=f"{provider_server.url}/vllm/v1")
    llm.load()

    with caplog.at_level(logging.INFO):
        ask(llm, 200)
    provider_server.most_at_once = 0
    ask(llm, 100)

    llm.unload()
    assert 8 <= provider_server.most_at_once < 32, "it begins with as many where nothing is known"
    assert any("requests wait in the server's own queue" in message for message in caplog.messages)


def test_a_server_that_says_nothing_is_asked_once(
    provider_server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    provider_server.slots, provider_server.latency = 8, 0.1
    llm = OpenAILLM(model="m", base_url=f"{provider_server.url}/vllm/v1")
    llm.load()

    with caplog.at_level(logging.INFO):
        ask(llm, 250)

    llm.unload()
    assert [message for message in caplog.messages if "nothing about a queue" in message] == [
        f"'m': nothing about a queue at {provider_server.url}/vllm/metrics (status 404): its limit is learnt without."
    ]


def test_a_limit_that_is_told_is_not_doubted(provider_server: ProviderServer) -> None:
    provider_server.metrics, provider_server.slots, provider_server.latency = True, 8, 0.1
    llm = ClientvLLM(model="m", base_url=f"{provider_server.url}/vllm/v1", max_concurrency=40)
    llm.load()

    ask(llm, 150)
    provider_server.most_at_once = 0
    ask(llm, 50)

    llm.unload()
    assert provider_server.most_at_once == 40

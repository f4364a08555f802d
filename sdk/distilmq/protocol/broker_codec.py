"""Which messages may come where there is a broker: what `codec.decode` is given."""

from __future__ import annotations

from pydantic import TypeAdapter

from distilmq.protocol import messages
from distilmq.protocol.messages import broker

FROM_WORKER: TypeAdapter[messages.FromWorker] = TypeAdapter(messages.FromWorker)
FROM_CLIENT: TypeAdapter[messages.FromClient] = TypeAdapter(messages.FromClient)
TO_BROKER: TypeAdapter[broker.ToBroker] = TypeAdapter(broker.ToBroker)
FROM_BROKER: TypeAdapter[broker.FromBroker] = TypeAdapter(broker.FromBroker)
TO_HOST: TypeAdapter[broker.ToHost] = TypeAdapter(broker.ToHost)
TO_COORDINATOR: TypeAdapter[broker.ToCoordinator] = TypeAdapter(broker.ToCoordinator)
FROM_COORDINATOR: TypeAdapter[broker.FromCoordinator] = TypeAdapter(broker.FromCoordinator)

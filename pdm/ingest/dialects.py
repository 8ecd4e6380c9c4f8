"""Which dialect a message by MQTT is in: its topic says so."""

from collections.abc import Iterable

from pdm.ingest.decode import Decoder, Samples
from pdm.ingest.lines import LineReader, Unread
from pdm.ingest.sparkplug import FIRST_LEVEL, Nodes, SparkplugReader
from pdm.ingest.topics import TopicReader
from pdm.plant import Plant
from pdm.plant.wire import LINES_TOPIC


class Dialects:
    """Reads the messages of one plant, whatever they are written in.

    Attributes:
        json: our own messages.
        lines: line protocol.
        topics: messages on topics of own forms.
        sparkplug: Sparkplug B; what its births say is kept in `nodes`.
    """

    def __init__(self, decoder: Decoder, nodes: Nodes | None = None):
        self.json = decoder
        self.lines = LineReader(decoder.plant)
        self.topics = TopicReader(decoder.plant, decoder.epoch_unit)
        self.sparkplug = SparkplugReader(decoder.plant, nodes or Nodes())

    def read(self, topic: str, payload: bytes, now_ms: int) -> Iterable[Samples | Unread]:
        """What a message carries, and those parts of it that cannot be read.

        Raises:
            UnreadableMessageError: nothing of it can be, with the reason.
        """
        if topic == LINES_TOPIC:
            return self.lines.read(payload, "ns", now_ms)
        if topic.startswith(FIRST_LEVEL):
            return self.sparkplug.read(topic, payload, now_ms)
        if (meant := self.topics.meant(topic)) is None:
            return (self.json.decode(topic, payload, now_ms),)
        if meant.form.payload == "lines":
            return self.lines.read(payload, meant.form.epoch_unit or "ns", now_ms)
        samples = self.topics.read(meant, payload, now_ms)
        return () if samples is None else (samples,)


def filters(plant: Plant) -> tuple[str, ...]:
    """What a plant wants to hear of beside the topics of the settings."""
    return (*(form.topic.filter for form in plant.topics), *(form.filter for form in plant.sparkplug))

"""Which dialect a message by MQTT is in: its topic says so."""

from collections.abc import Iterable

from pdm.ingest.decode import Decoder, Samples
from pdm.ingest.lines import LineReader, Unread

LINES_TOPIC = "pdm/lines"
"""Line protocol, its times in nanoseconds; the lines say which machines they are about."""


class Dialects:
    """Reads the messages of one plant, whatever they are written in.

    Attributes:
        json: our own messages.
        lines: line protocol.
    """

    def __init__(self, decoder: Decoder):
        self.json = decoder
        self.lines = LineReader(decoder.plant)

    def read(self, topic: str, payload: bytes, now_ms: int) -> Iterable[Samples | Unread]:
        """What a message carries, and those parts of it that cannot be read.

        Raises:
            UnreadableMessageError: nothing of it can be, with the reason.
        """
        if topic == LINES_TOPIC:
            return self.lines.read(payload, "ns", now_ms)
        return (self.json.decode(topic, payload, now_ms),)

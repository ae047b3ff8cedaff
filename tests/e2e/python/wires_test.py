"""The official SDKs of three providers against the scripted model: it speaks their wires if they understand all that it says.

ROCKBOT_URL is where the scripted model is. Each test uploads a scenario of its own and reads the answer with the SDK's own
accumulation, which raises where an event is missing or out of order.
"""
import json
import os
import unittest
import urllib.request

import anthropic
import openai
from google import genai
from google.genai import errors, types

URL = os.environ["ROCKBOT_URL"]
QUESTION = [{"role": "user", "content": "Weather and time?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
STEP = {
    "reasoning": "I must look.",
    "content": "A moment, please.",
    "calls": [{"name": "weather", "arguments": {"city": "Zürich"}}, {"name": "time", "arguments": {}}],
    "keep_alive": True,
    "piece_bytes": 11,
}
BUSY = {"error": {"status": 429, "message": "slow down", "retry_after": 7}}


def script(name, *steps):
    body = json.dumps({"name": name, "steps": steps}).encode()
    request = urllib.request.Request(f"{URL}/script", body, {"content-type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()
    return f"{URL}/{name}"


class OpenAi(unittest.TestCase):
    def test_a_stream(self):
        client = openai.OpenAI(base_url=script("sdk-openai", STEP) + "/v1", api_key="sk-any", max_retries=0)
        function = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
        with client.chat.completions.stream(model="m", messages=QUESTION, tools=[function]) as stream:
            choice = stream.get_final_completion().choices[0]
        self.assertEqual(choice.finish_reason, "tool_calls")
        self.assertEqual(choice.message.content, "A moment, please.")
        calls = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls]
        self.assertEqual(calls, [("weather", {"city": "Zürich"}), ("time", {})])


class Anthropic(unittest.TestCase):
    def client(self, name, *steps):
        return anthropic.Anthropic(base_url=script(name, *steps), api_key="sk-any", max_retries=0)

    def test_a_stream(self):
        client = self.client("sdk-anthropic", STEP)
        tool = {"name": "weather", "input_schema": SCHEMA}
        with client.messages.stream(model="m", max_tokens=100, messages=QUESTION, tools=[tool]) as stream:
            message = stream.get_final_message()
        self.assertEqual([block.type for block in message.content], ["thinking", "text", "tool_use", "tool_use"])
        self.assertEqual(message.content[0].thinking, "I must look.")
        self.assertTrue(message.content[0].signature)
        self.assertEqual(message.content[1].text, "A moment, please.")
        self.assertEqual(message.content[2].input, {"city": "Zürich"})
        self.assertEqual(message.stop_reason, "tool_use")
        self.assertEqual(message.usage.cache_read_input_tokens, 1)
        self.assertGreater(message.usage.output_tokens, 1)

    def test_a_refusal(self):
        client = self.client("sdk-anthropic-busy", BUSY, {"error": {"status": 529}})
        with self.assertRaises(anthropic.RateLimitError) as caught:
            client.messages.create(model="m", max_tokens=1, messages=QUESTION, stream=True)
        self.assertEqual(caught.exception.response.headers["retry-after"], "7")
        self.assertEqual(caught.exception.body["error"]["type"], "rate_limit_error")
        with self.assertRaises(anthropic.APIStatusError) as caught:
            client.messages.create(model="m", max_tokens=1, messages=QUESTION, stream=True)
        self.assertEqual(caught.exception.body["error"]["type"], "overloaded_error")


class Gemini(unittest.TestCase):
    def client(self, name, *steps):
        options = types.HttpOptions(base_url=script(name, *steps))
        return genai.Client(api_key="sk-any", http_options=options)

    def test_a_stream(self):
        function = types.FunctionDeclaration(name="weather", parameters_json_schema=SCHEMA)
        config = types.GenerateContentConfig(
            system_instruction="Be brief.", temperature=0.5, tools=[types.Tool(function_declarations=[function])]
        )
        client = self.client("sdk-gemini", STEP)
        chunks = list(client.models.generate_content_stream(model="m", contents="Weather and time?", config=config))
        parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
        self.assertEqual("".join(part.text for part in parts if part.thought), "I must look.")
        said = "".join(part.text for part in parts if part.text and not part.thought)
        self.assertEqual(said, "A moment, please.")
        calls = [part for part in parts if part.function_call]
        self.assertEqual([call.function_call.name for call in calls], ["weather", "time"])
        self.assertEqual(calls[0].function_call.args, {"city": "Zürich"})
        self.assertTrue(calls[0].thought_signature)
        self.assertEqual(chunks[-1].candidates[0].finish_reason, types.FinishReason.STOP)
        self.assertEqual(chunks[-1].usage_metadata.thoughts_token_count, 2)

    def test_a_refusal(self):
        client = self.client("sdk-gemini-busy", BUSY)
        with self.assertRaises(errors.ClientError) as caught:
            list(client.models.generate_content_stream(model="m", contents="Hi"))
        self.assertEqual((caught.exception.code, caught.exception.status), (429, "RESOURCE_EXHAUSTED"))


if __name__ == "__main__":
    unittest.main()

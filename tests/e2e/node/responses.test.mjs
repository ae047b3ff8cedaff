// S14: the Responses API as the official OpenAI SDK for Node.js asks, against an agent whose model does what each test uploads.
//
// ROCKBOT_URL, ROCKBOT_AGENT and ROCKBOT_KEY say where the agent is and how to be let in; ROCKBOT_MODEL says where its model is,
// which plays the scenario `sdk` and tells what it was asked. `../python/responses_test.py` asks the same with the SDK for Python.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import OpenAI from "openai";
import { zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const { ROCKBOT_URL, ROCKBOT_AGENT: model, ROCKBOT_KEY, ROCKBOT_MODEL } = process.env;
const { responses } = new OpenAI({ baseURL: `${ROCKBOT_URL}/v1`, apiKey: ROCKBOT_KEY, maxRetries: 0, timeout: 30_000 });
const Weather = z.object({ city: z.string(), degrees: z.number() });
const paris = { city: "Paris", degrees: 21 };
const input = "How warm is it in Paris?";

// Tells the model what to answer from now on.
async function script(...steps) {
	const body = JSON.stringify({ name: "sdk", steps });
	const answer = await fetch(`${ROCKBOT_MODEL}/script`, { method: "POST", body, headers: { "content-type": "application/json" } });
	assert.ok(answer.ok);
}

// What the model was asked since then.
const requests = async () => (await fetch(`${ROCKBOT_MODEL}/sdk/requests`)).json();

test("create", async () => {
	await script({ content: "Warm.", reasoning: "Hm." });
	const response = await responses.create({ model, input });
	assert.equal(response.output_text, "Warm.");
	assert.deepEqual(response.output.map((item) => item.type), ["reasoning", "message"]);
});

test("the stream helper accumulates thoughts, text and calls", async () => {
	await script({ content: "Wait.", reasoning: "Well.", calls: [{ name: "report_weather", arguments: paris }] });
	const tools = [zodResponsesFunction({ name: "report_weather", parameters: Weather })];
	const stream = responses.stream({ model, input, tools });
	const kinds = new Set();
	for await (const event of stream) kinds.add(event.type);
	const response = await stream.finalResponse();
	const [thought, said, call] = response.output;
	assert.equal(thought.content[0].text, "Well.");
	assert.equal(said.content[0].text, "Wait.");
	assert.deepEqual(call.parsed_arguments, paris);
	assert.ok(kinds.has("response.reasoning_text.delta") && kinds.has("response.function_call_arguments.done"));
});

test("parse gives the type", async () => {
	await script({ content: JSON.stringify(paris) });
	const response = await responses.parse({ model, input, text: { format: zodTextFormat(Weather, "weather") } });
	assert.deepEqual(response.output_parsed, paris);
});

test("a conversation goes on, and is deleted", async () => {
	await script({ content: "One." }, { content: "Two." });
	const first = await responses.create({ model, input: "one" });
	const second = await responses.create({ model, input: "two", previous_response_id: first.id });
	assert.equal((await responses.retrieve(second.id)).output_text, "Two.");
	await responses.delete(second.id);
	await assert.rejects(responses.retrieve(second.id), OpenAI.NotFoundError);
	await assert.rejects(responses.create({ model, input, previous_response_id: second.id }), OpenAI.BadRequestError);
});

test("D4: a question to whoever talks to the agent is answered", async () => {
	const own = { name: "execute_python_script", arguments: { script: "print(6 * 7)" } };
	const ask = { name: "ask-customer", arguments: { question: "Which colour?" } };
	await script({ calls: [own] }, { calls: [ask] }, { content: "Bought." });
	const stream = responses.stream({ model, input: `One of them, please. ${randomUUID()}` });
	const asked = await stream.finalResponse();
	assert.deepEqual([asked.output_text, asked.status], ["Which colour?", "completed"]);
	const answered = await responses.create({ model, input: "red", previous_response_id: asked.id });
	assert.deepEqual([answered.output_text, answered.status], ["Bought.", "completed"]);
	const [, ...read] = (await requests())[2].body.messages;
	assert.deepEqual(read.map(({ role }) => role), ["user", "assistant", "tool", "assistant", "tool"]);
	assert.deepEqual([read[2].content, JSON.parse(read[4].content).result], ["42\n", "red"]);
});

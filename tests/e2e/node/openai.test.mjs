// S14: every way in which the official OpenAI SDK for Node.js asks, against an agent whose model does what each test uploads.
//
// ROCKBOT_URL, ROCKBOT_AGENT and ROCKBOT_KEY say where the agent is and how to be let in; ROCKBOT_MODEL says where its model is,
// which plays the scenario `sdk` and tells what it was asked. `../python/openai_test.py` asks the same with the SDK for Python.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import OpenAI from "openai";
import { ResponsesToolRunner } from "openai/helpers/responses-tool-runner";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { ChatCompletionStream } from "openai/lib/ChatCompletionStream";
import { z } from "zod";

const { ROCKBOT_URL, ROCKBOT_AGENT: model, ROCKBOT_KEY, ROCKBOT_MODEL, ROCKBOT_DOCUMENTATION } = process.env;
const messages = [{ role: "user", content: "How warm is it in Paris?" }];
const refused = { error: { status: 503 } };
// The agent itself asks three times before it gives up.
const givenUp = [refused, refused, refused];
const Weather = z.object({ city: z.string(), degrees: z.number() });
const paris = { city: "Paris", degrees: 21 };

const connect = (options) =>
	new OpenAI({ baseURL: `${ROCKBOT_URL}/v1`, apiKey: ROCKBOT_KEY, maxRetries: 0, timeout: 30_000, ...options });
const client = connect();
const completions = client.chat.completions;

// Tells the model what to answer from now on.
async function script(...steps) {
	const body = JSON.stringify({ name: "sdk", steps });
	const answer = await fetch(`${ROCKBOT_MODEL}/script`, { method: "POST", body, headers: { "content-type": "application/json" } });
	assert.ok(answer.ok);
}

// What the model was asked since then.
const requests = async () => (await fetch(`${ROCKBOT_MODEL}/sdk/requests`)).json();
const say = (content, more) => ({ content, ...more });
const call = (name, args) => ({ name, arguments: args });
const textOf = (completion) => completion.choices[0].message.content;

describe("create", () => {
	test("every option reaches the model", async () => {
		const options = {
			temperature: 0.5,
			top_p: 0.9,
			max_completion_tokens: 100,
			frequency_penalty: 0.1,
			presence_penalty: -0.2,
			stop: ["END", "STOP"],
			seed: 7,
			logit_bias: { 50256: -100 },
			user: "someone",
			metadata: { team: "red" },
			response_format: { type: "json_object" },
			reasoning_effort: "low",
			service_tier: "auto",
			store: false,
			parallel_tool_calls: false,
			tool_choice: { type: "function", function: { name: "report_weather" } },
		};
		const tools = [{ type: "function", function: { name: "report_weather", parameters: z.toJSONSchema(Weather) } }];
		await script(say("{}"));
		await completions.create({ model, messages, tools, ...options, top_k: 5 });
		const [{ body }] = await requests();
		// The name by which servers other than OpenAI's own know it.
		const { max_completion_tokens: max_tokens, ...others } = options;
		assert.equal(body.max_completion_tokens, undefined);
		for (const [name, value] of Object.entries({ ...others, max_tokens, top_k: 5 })) assert.deepEqual(body[name], value, name);
		assert.deepEqual(body.tools.at(-1), tools[0]);
		assert.equal(body.model, "scripted", "the agent's own model");
	});

	test("images, sounds and files reach the model", async () => {
		const content = [
			{ type: "text", text: "What is all this?" },
			{ type: "image_url", image_url: { url: "data:image/png;base64,aGk=", detail: "low" } },
			{ type: "input_audio", input_audio: { data: "aGk=", format: "wav" } },
			{ type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,aGk=" } },
		];
		await script(say("Greetings."));
		await completions.create({ model, messages: [{ role: "user", content }] });
		assert.deepEqual((await requests())[0].body.messages.at(-1).content, content);
	});

	test("usage and the identity of the request", async () => {
		await script(say("one two three"));
		const headers = { "x-request-id": "mine" };
		const { data, response, request_id } = await completions.create({ model, messages }, { headers }).withResponse();
		assert.deepEqual([request_id, response.headers.get("x-request-id"), data._request_id], ["mine", "mine", "mine"]);
		assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
		assert.equal(data.usage.prompt_tokens_details.cached_tokens, 1);
		assert.equal(data.usage.completion_tokens_details.reasoning_tokens, 2);
	});

	test("many at once", async () => {
		await script(...Array(8).fill(say("same")));
		const answers = await Promise.all(Array.from({ length: 8 }, () => completions.create({ model, messages })));
		assert.deepEqual(answers.map(textOf), Array(8).fill("same"));
		assert.equal(new Set(answers.map((answer) => answer.id)).size, 8);
	});
});

describe("stream", () => {
	test("chunks", async () => {
		await script(say("one two three"));
		const stream = await completions.create({ model, messages, stream: true, stream_options: { include_usage: true } });
		const chunks = [];
		for await (const chunk of stream) chunks.push(chunk);
		assert.equal(new Set(chunks.map(({ id, created, model, object }) => `${id} ${created} ${model} ${object}`)).size, 1);
		assert.equal(chunks[0].choices[0].delta.role, "assistant");
		assert.equal(chunks.at(-2).choices[0].finish_reason, "stop");
		assert.deepEqual(chunks.at(-1).choices, []);
		assert.ok(chunks.at(-1).usage.total_tokens > 0);
	});

	test("the helper tells what happens", async () => {
		await script(say("one two three", { reasoning: "Hm." }));
		const deltas = [];
		const stream = completions.stream({ model, messages, stream_options: { include_usage: true } });
		stream.on("content", (delta) => deltas.push(delta));
		const completion = await stream.finalChatCompletion();
		assert.deepEqual(deltas.filter(Boolean), ["one ", "two ", "three"]);
		assert.equal(await stream.finalContent(), "one two three");
		assert.equal(textOf(completion), "one two three");
		assert.ok((await stream.totalUsage()).total_tokens > 0);
	});

	test("the helper puts calls together", async () => {
		const calls = ["Paris", "Rome"].map((city) => call("report_weather", { city, degrees: 21 }));
		await script({ content: "A moment.", calls, piece_bytes: 11 });
		const tools = [zodFunction({ name: "report_weather", parameters: Weather })];
		const done = [];
		const stream = completions.stream({ model, messages, tools });
		stream.on("tool_calls.function.arguments.done", ({ parsed_arguments }) => done.push(parsed_arguments));
		const { message } = (await stream.finalChatCompletion()).choices[0];
		assert.deepEqual(done.map(({ city }) => city), ["Paris", "Rome"]);
		assert.deepEqual(message.tool_calls.map((call) => call.function.parsed_arguments.degrees), [21, 21]);
		assert.equal(message.content, "A moment.");
	});

	test("a stream that is passed on", async () => {
		await script(say("one two"));
		const passed = completions.stream({ model, messages }).toReadableStream();
		assert.equal(await ChatCompletionStream.fromReadableStream(passed).finalContent(), "one two");
	});

	test("an error in the middle", async () => {
		await script(say("one two", { error_event: { error: { message: "enough", code: "rate_limit_exceeded" } } }));
		let read = "";
		const ask = async () => {
			for await (const chunk of await completions.create({ model, messages, stream: true }))
				read += chunk.choices[0].delta.content ?? "";
		};
		await assert.rejects(ask, (error) => error instanceof OpenAI.APIError && error.code === "rate_limit_exceeded");
		assert.equal(read, "one two");
	});

	test("leaving early ends the model", async () => {
		await script(say("word ".repeat(2000), { pause_ms: 5 }));
		const stream = await completions.create({ model, messages, stream: true });
		for await (const _ of stream) break;
		for (let tries = 0; (await requests())[0].outcome !== "dropped"; tries++) {
			assert.ok(tries < 100, "the model still speaks");
			await sleep(50);
		}
	});
});

describe("parse", () => {
	test("a schema", async () => {
		await script(say(JSON.stringify(paris)));
		const response_format = zodResponseFormat(Weather, "weather");
		const completion = await completions.parse({ model, messages, response_format });
		assert.deepEqual(completion.choices[0].message.parsed, paris);
		const schema = (await requests())[0].body.response_format.json_schema;
		assert.deepEqual([schema.name, schema.strict, schema.schema.required], ["weather", true, ["city", "degrees"]]);
	});

	test("a schema while it streams", async () => {
		await script(say(JSON.stringify(paris), { piece_bytes: 7 }));
		const stream = completions.stream({ model, messages, response_format: zodResponseFormat(Weather, "weather") });
		assert.deepEqual((await stream.finalChatCompletion()).choices[0].message.parsed, paris);
	});

	test("a cut answer is not parsed", async () => {
		const response_format = zodResponseFormat(Weather, "weather");
		await script(say('{"city": ', { finish_reason: "length" }), say("", { finish_reason: "content_filter" }));
		await assert.rejects(completions.parse({ model, messages, response_format }), OpenAI.LengthFinishReasonError);
		await assert.rejects(completions.parse({ model, messages, response_format }), OpenAI.ContentFilterFinishReasonError);
	});
});

describe("tools", () => {
	const own = call("execute_python_script", { script: "print(6 * 7)" });
	for (const stream of [false, true]) {
		const how = stream ? "streamed" : "at once";
		test(`runTools runs the client's own, and the agent its own, ${how}`, async () => {
			await script({ calls: [own, call("report_weather", paris)] }, say("42, and 21 degrees."));
			const told = [];
			const report = { name: "report_weather", description: "Notes the weather.", parameters: z.toJSONSchema(Weather) };
			const run = (weather) => (told.push(weather), "noted");
			const tools = [{ type: "function", function: { ...report, parse: JSON.parse, function: run } }];
			const runner = completions.runTools({ model, messages, tools, stream });
			assert.equal(await runner.finalContent(), "42, and 21 degrees.");
			assert.deepEqual(told, [paris]);
			const results = (await requests())[1].body.messages.filter(({ role }) => role === "tool");
			assert.deepEqual(results.map(({ content }) => content), ["42\n", "noted"]);
		});

		test(`so does the runner of tools, ${how}`, async () => {
			await script({ calls: [own, call("report_weather", paris)] }, say("42, and 21 degrees."));
			const told = [];
			const tool = { type: "function", name: "report_weather", parameters: z.toJSONSchema(Weather), strict: false };
			const runner = new ResponsesToolRunner({ functions: [{ tool, execute: (weather) => (told.push(weather), "noted") }] });
			const response = await runner.run(client, { model, input: "How warm is it?" }, { stream });
			assert.equal(response.output_text, "42, and 21 degrees.");
			assert.deepEqual(told, [paris]);
			const results = (await requests())[1].body.messages.filter(({ role }) => role === "tool");
			assert.deepEqual(results.map(({ content }) => content), ["42\n", "noted"]);
		});
	}
});

// D4: the agent asks whoever talks to it, and goes on with what they say.
describe("humans", () => {
	let conversation;
	beforeEach(async () => {
		const ask = call("ask-customer", { question: "Which colour?" });
		await script({ calls: [call("execute_python_script", { script: "print(6 * 7)" })] }, { calls: [ask] }, say("Bought."));
		// Conversations that are the same to the letter are told apart by nothing.
		conversation = [{ role: "user", content: `One of them, please. ${randomUUID()}` }];
	});

	function isQuestion({ message, finish_reason }) {
		assert.deepEqual([message.content, finish_reason, message.tool_calls], ["Which colour?", "stop", undefined]);
		assert.deepEqual([message.handoff.name, message.handoff.type], ["ask-customer", "human"]);
	}

	async function goesOn(asked) {
		const messages = [...conversation, asked, { role: "user", content: "red" }];
		const [{ message, finish_reason }] = (await completions.create({ model, messages })).choices;
		assert.deepEqual([message.content, finish_reason, message.handoff], ["Bought.", "stop", undefined]);
		const [, ...read] = (await requests())[2].body.messages;
		assert.deepEqual(read.map(({ role }) => role), ["user", "assistant", "tool", "assistant", "tool"]);
		assert.deepEqual([read[2].content, JSON.parse(read[4].content).result], ["42\n", "red"]);
	}

	test("a question is answered", async () => {
		const [choice] = (await completions.create({ model, messages: conversation })).choices;
		isQuestion(choice);
		await goesOn(choice.message);
	});

	test("a streamed question is answered", async () => {
		const [choice] = (await completions.stream({ model, messages: conversation }).finalChatCompletion()).choices;
		isQuestion(choice);
		await goesOn(choice.message);
	});

	test("words alone are enough", async () => {
		const words = textOf(await completions.create({ model, messages: conversation }));
		await goesOn({ role: "assistant", content: words });
	});
});

describe("errors", () => {
	// A model that fails five times in a row is left alone for a while; one answer ends the row.
	beforeEach(async () => {
		await script(say("well"));
		await completions.create({ model, messages });
		await script();
	});

	async function fails(kind, code, steps, options) {
		await script(...steps);
		const error = await completions.create({ model, messages, ...options }).then(assert.fail, (error) => error);
		assert.ok(error instanceof kind, `${error}`);
		assert.equal(error.code, code);
		assert.deepEqual(Object.keys(error.error).sort(), ["code", "message", "param", "type"]);
		return error;
	}

	test("of the client", async () => {
		assert.equal((await fails(OpenAI.BadRequestError, "invalid_value", [], { n: 2 })).param, "n");
		await fails(OpenAI.BadRequestError, "invalid_value", [], { messages: [{ role: "user", content: 5 }] });
		await fails(OpenAI.NotFoundError, "model_not_found", [], { model: "nobody" });
		assert.deepEqual(await requests(), []);
	});

	test("of the key", async () => {
		const ask = connect({ apiKey: "sk-other" }).chat.completions.create({ model, messages });
		await assert.rejects(ask, (error) => error instanceof OpenAI.AuthenticationError && error.code === "invalid_api_key");
	});

	test("of the model", async () => {
		const no = (status, code, more) => ({ error: { status, body: { error: { message: "no", code } }, ...more } });
		const error = await fails(OpenAI.RateLimitError, "rate_limit_exceeded", [no(429, null, { retry_after: 100 })]);
		assert.equal(error.headers.get("retry-after"), "100");
		await fails(OpenAI.BadRequestError, "context_length_exceeded", [no(400, "context_length_exceeded")]);
		await fails(OpenAI.InternalServerError, "model_authentication", [no(401, "invalid_api_key")]);
		await fails(OpenAI.InternalServerError, "model_overloaded", givenUp);
	});

	test("of time, and of a caller who hangs up", async () => {
		await script(say("late", { delay_ms: 5000 }), say("late", { delay_ms: 5000 }));
		await assert.rejects(completions.create({ model, messages }, { timeout: 300 }), OpenAI.APIConnectionTimeoutError);
		const signal = AbortSignal.timeout(300);
		await assert.rejects(completions.create({ model, messages }, { signal }), OpenAI.APIUserAbortError);
	});

	test("what passes is tried again", async () => {
		await script(...givenUp, say("Now."));
		assert.equal(textOf(await connect({ maxRetries: 1 }).chat.completions.create({ model, messages })), "Now.");
		assert.equal((await requests()).length, 4);
	});

	test("after a tool nothing is tried again", async () => {
		await script({ calls: [call("execute_python_script", { script: "print(1)" })] }, ...givenUp, say("Twice."));
		await assert.rejects(connect({ maxRetries: 1 }).chat.completions.create({ model, messages }), OpenAI.InternalServerError);
		assert.equal((await requests()).length, 4);
	});
});

test("models", async () => {
	const ids = [];
	for await (const { id } of client.models.list()) ids.push(id);
	assert.ok(ids.includes(model));
	assert.equal((await client.models.retrieve(model)).owned_by, "rockbot");
	await assert.rejects(client.models.retrieve("nobody"), OpenAI.NotFoundError);
});

test("the example of the documentation runs", async () => {
	const [, example] = (await readFile(ROCKBOT_DOCUMENTATION, "utf8")).match(/^```js\n(.*?)^```/ms);
	const words = { "http://localhost:8080": ROCKBOT_URL, analyst: model, "choose-one": ROCKBOT_KEY };
	const here = Object.entries(words).reduce((text, [word, here]) => text.replaceAll(word, here), example);
	const file = new URL("example.mjs", import.meta.url);
	await writeFile(file, here);
	await script(say("355687428096000"));
	const { stdout } = await promisify(execFile)(process.execPath, [file.pathname]);
	assert.equal(stdout, "355687428096000");
});

// The rooms of the tests: one namespace for each thing a policy can say.

export const rooms = `
[[policies]]
rooms = ["batch:*"]
batch_window = "500ms"

[[policies]]
rooms = ["newest-topic:*"]
batch_window = "500ms"
conflate = "topic"

[[policies]]
rooms = ["newest-key:*"]
batch_window = "500ms"
conflate = "key"

[[policies]]
rooms = ["retain:*"]
retain = "key"

[[policies]]
rooms = ["short:*"]
history_size = 5

[[policies]]
rooms = ["open:*"]
publish = "anyone"

[[policies]]
rooms = ["seen:*"]
presence = "events"

[[policies]]
rooms = ["closed:*"]
join = "nobody"
`;

// The rooms of the tests: one namespace for each thing a policy can say.

export const rooms = `
[[policy]]
rooms = ["batch:*"]
batch_window = "500ms"

[[policy]]
rooms = ["newest-topic:*"]
batch_window = "500ms"
conflate = "topic"

[[policy]]
rooms = ["newest-key:*"]
batch_window = "500ms"
conflate = "key"

[[policy]]
rooms = ["retain:*"]
retain = "key"

[[policy]]
rooms = ["short:*"]
history_size = 5

[[policy]]
rooms = ["open:*"]
publish = "anyone"

[[policy]]
rooms = ["seen:*"]
presence = "events"

[[policy]]
rooms = ["closed:*"]
join = "nobody"

[[policy]]
rooms = ["slow-close:*"]
slow = "close"
`;

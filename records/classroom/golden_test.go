package classroom_test

// golden is what the samples are encoded and described as. The bytes are
// frozen: records of this form exist.
var golden = map[string]struct{ bytes, json string }{
	"user": {
		"0a10000000000000000000000000000000071207080312034164611a0708031203616461220608031202656e2a050803120178",
		`{"name":{"clock":"0.3","value":"Ada"},"username":{"clock":"0.3","value":"ada"},"language":{"clock":"0.3","value":"en"},"notes":{"clock":"0.3","value":"x"}}`,
	},
	"learner_secret": {
		"0a10000000000000000000000000000000071206080212022468",
		`{"password":{"clock":"0.2","value":"set"}}`,
	},
	"staff_secret": {
		"0a10000000000000000000000000000000071206080212022468",
		`{"password":{"clock":"0.2","value":"set"}}`,
	},
	"group": {
		"0a100000000000000000000000000000000712060803120233411a050803120179",
		`{"name":{"clock":"0.3","value":"3A"},"description":{"clock":"0.3","value":"y"}}`,
	},
	"membership": {
		"080112240a20000000000000000000000000000000000000000000000000000000000000000110051a240a2000000000000000000000000000000000000000000000000000000000000000011004",
		`{"addition":true,"added":[{"log":"log-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaq","counter":5}],"removed":[{"log":"log-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaq","counter":4}]}`,
	},
	"role": {
		"0a0408061001",
		`{"role":{"clock":"0.6","value":"teacher"}}`,
	},
	"assignment": {
		"0a1000000000000000000000000000000007120508031201541a04080410012204080110092a1a0a100100000000000000000000000000000010011a040804100132090a0163120408011002",
		`{"title":{"clock":"0.3","value":"T"},"visible":{"clock":"0.4","value":true},"due":{"clock":"0.1","value":9},"recipients":[{"id":"group-aeaaaaaaaaaaaaaaaaaaaaaaaa","present":{"clock":"0.4","value":true}}],"items":[{"content":"c","position":{"clock":"0.1","value":2}}]}`,
	},
	"alias": {
		"0a10000000000000000000000000000000071204080410011a050803120177",
		`{"revoked":{"clock":"0.4","value":true},"why":{"clock":"0.3","value":"w"}}`,
	},
	"tombstone": {
		"0a10000000000000000000000000000000071204080410011a050803120172",
		`{"hidden":{"clock":"0.4","value":true},"reason":{"clock":"0.3","value":"r"}}`,
	},
	"erasure": {
		"0a200100000000000000000000000000000002000000000000000000000000000000",
		`{"learners":["user-aeaaaaaaaaaaaaaaaaaaaaaaaa","user-aiaaaaaaaaaaaaaaaaaaaaaaaa"]}`,
	},
	"video_progress": {
		"0a04001e0a14103c180122040808103c2a0608031202656e320508d00f100938d00f403c48ee057a260a20000000000000000000000000000000000000000000000000000000000000000112020801",
		`{"span_steps":[0,30,10,20],"played_s":60,"completions":1,"position":{"clock":"0.8","value":60},"language":{"clock":"0.3","value":"en"},"completion":{"at":1000,"attempts":9},"last_completion":1000,"duration_s":60,"worth":750,"former":[{"log":"log-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaq","body":"CAE="}]}`,
	},
	"exercise_progress": {
		"0809100818c0b802206828683204ac0201023805420508d00f10097a260a20000000000000000000000000000000000000000000000000000000000000000112020801",
		`{"attempts":9,"right":8,"active_ms":40000,"points":104,"limit":104,"clock_steps":[300,1,2],"right_bits":5,"completion":{"at":1000,"attempts":9},"former":[{"log":"log-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaq","body":"CAE="}]}`,
	},
	"activity_day": {
		"080310a01f18d00f7a260a20000000000000000000000000000000000000000000000000000000000000000112020801",
		`{"count":3,"active_ms":4000,"last_active":1000,"former":[{"log":"log-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaq","body":"CAE="}]}`,
	},
	"award": {
		"0a02657810011a010120092801",
		`{"item":"ex","reason":"completion","run":"AQ==","amount":-5,"rule":1}`,
	},
	"attempt": {
		"0a1000000000000000000000000000000007120265781a026974204d2a0468616c66300138014088274a02656e5201015a01026204080118096203120162",
		`{"exercise":"ex","item":"it","seed":77,"answer":"half","correct":true,"hinted":true,"taken_ms":5000,"language":"en","context":"AQ==","run":"Ag==","steps":[{"hint":true,"answer":"","after_ms":9},{"hint":false,"answer":"b","after_ms":0}]}`,
	},
	"viewing": {
		"0a01761001181f2096012a02656e320101",
		`{"video":"v","from_s":1,"to_s":31,"speed_percent":150,"language":"en","context":"AQ=="}`,
	},
}

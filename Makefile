# make build   the release binary: build/atoll
# make demo    four nodes train one model on this machine
# make test    everything that CI runs
# make check   by hand before an issue is closed: debug tests, sanitizers, async contexts
# make fuzz    ten million hostile inputs for the decoders
# make interop against other implementations (needs PyPI)

SWIFT_TEST_FLAGS = -c release -Xswiftc -enable-testing --scratch-path .build-test
export SWIFT_BACKTRACE = enable=no

.PHONY: build demo test check fuzz interop format clean

build:
	@.ci/prerequisites
	swift build -c release --static-swift-stdlib --product atoll
	@mkdir -p build
	@install -m 755 "$$(swift build -c release --static-swift-stdlib --show-bin-path)/atoll" build/atoll
	@echo "built build/atoll"

demo: build
	build/atoll testnet demo --out build/demo

test:
	@.ci/prerequisites
	swift format lint --strict --recursive --configuration .swift-format Package.swift Sources Tests node
	swift test $(SWIFT_TEST_FLAGS) --skip SeedTests --skip IntegrationTests --skip TransportTests --skip NodeServiceTests
	# Sockets and rates, one case after the other: beside others they would wait for a core and measure that.
	swift test $(SWIFT_TEST_FLAGS) --skip-build --no-parallel --filter "TransportTests|NodeServiceTests"
	# By themselves, because they keep every core busy.
	swift test $(SWIFT_TEST_FLAGS) --skip-build --filter SeedTests
	# The real binary on good and bad input, one case after the other.
	swift test $(SWIFT_TEST_FLAGS) --skip-build --no-parallel --filter IntegrationTests

check: build test
	swift test --scratch-path .build-debug
	swift test --scratch-path .build-tsan --sanitize=thread --skip IntegrationTests
	LSAN_OPTIONS=suppressions=.ci/leaks-of-others swift test --scratch-path .build-asan --sanitize=address \
		-Xswiftc -use-ld=lld --skip IntegrationTests
	# What no sanitizer sees: async contexts that the compiler made too small.
	.ci/async-frames build/atoll

# Ten million changed inputs for the decoders of peers' bytes; about ten minutes. FUZZ_INPUTS: for each decoder.
FUZZ_INPUTS = 600000
fuzz:
	ATOLL_FUZZ_INPUTS=$(FUZZ_INPUTS) swift test $(SWIFT_TEST_FLAGS) --no-parallel --filter DecoderFuzzTests

interop: build
	testnets/peers/interop build/atoll

format:
	swift format -i --recursive --configuration .swift-format Package.swift Sources Tests node

clean:
	rm -rf .build .build-* build

import Numerics
import Testing

@Suite struct FloatBufferTests {
    @Test(arguments: [0, 1, 15, 16, 17, 4097]) func buffersAreAlignedZeroedAndPadded(count: Int) {
        let buffer = FloatBuffer(count: count)
        #expect(UInt(bitPattern: buffer.pointer) % 64 == 0)
        #expect(buffer.array == [Float](repeating: 0, count: count))
        #expect((count..<max(16, (count + 15) / 16 * 16)).allSatisfy { buffer.pointer[$0] == 0 })
    }

    @Test func copyingAndZeroingTouchEveryFloat() {
        let source = FloatBuffer([1, 2, 3])
        let copy = FloatBuffer(count: 3)
        copy.copy(from: source)
        #expect(copy.array == [1, 2, 3])
        copy.zero()
        #expect(copy.array == [0, 0, 0] && source.array == [1, 2, 3])
    }

    @Test func theLockProtectsItsState() {
        let lock = Lock(0)
        let pool = WorkerPool(threadCount: 4)
        pool.run(1000) { _, _ in lock.withLock { $0 += 1 } }
        #expect(lock.withLock { $0 } == 1000)
    }
}

import Numerics
import Synchronization
import Testing

@Suite struct WorkerPoolTests {
    @Test(arguments: [1, 2, 5]) func everyTaskRunsOnce(threadCount: Int) {
        let pool = WorkerPool(threadCount: threadCount)
        for count in [0, 1, 2, 7, 100] {
            let hits = FloatBuffer(count: count)
            for _ in 0..<20 { pool.run(count) { task, _ in hits.pointer[task] += 1 } }
            #expect(hits.array.allSatisfy { $0 == 20 })
        }
    }
}

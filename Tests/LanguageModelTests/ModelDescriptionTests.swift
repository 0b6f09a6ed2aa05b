import LanguageModel
import Numerics
import Testing

@Suite struct ModelDescriptionTests {
    @Test func presetsHaveTheirPublishedSizes() throws {
        let counts = ModelConfiguration.presets.map { ($0.name, $0.configuration.parameterCount) }
        #expect(counts.map(\.0) == ["nano", "micro", "tiny", "small"])
        #expect(counts.map(\.1) == [836_736, 2_705_856, 15_735_168, 109_529_856])
        for preset in ModelConfiguration.presets { try preset.configuration.validate() }
        #expect(ModelConfiguration.preset(named: "huge") == nil)
    }

    @Test func theLayoutCoversEveryParameterOnceInHuggingFaceNames() throws {
        for tied in [true, false] {
            let layout = ParameterLayout(oddConfiguration(tied: tied))
            var end = 0
            for tensor in layout.tensors {
                #expect(tensor.offset == end && tensor.count == tensor.shape.reduce(1, *))
                end = tensor.range.upperBound
            }
            #expect(end == layout.count)
            #expect(layout.tensors.count == 2 * 9 + (tied ? 2 : 3))
            let key = try #require(layout.tensor(named: "model.layers.1.self_attn.k_proj.weight"))
            #expect(key.shape == [12, 20] && key.block == 1)
            #expect((layout.tensor(named: "lm_head.weight") == nil) == tied)
            #expect(layout.tensor(named: "model.embed_tokens.weight")?.block == nil)
        }
    }

    @Test func everyFieldOutOfRangeIsRefused() {
        func refuses(_ change: (inout ModelConfiguration) -> Void) -> Bool {
            var configuration = ModelConfiguration.nano
            change(&configuration)
            do throws(ModelError) {
                try configuration.validate()
                return false
            } catch { return true }
        }
        for bad in [0, -1, Int.max, Int.min] {
            #expect(refuses { $0.vocabularySize = bad })
            #expect(refuses { $0.width = bad })
            #expect(refuses { $0.layerCount = bad })
            #expect(refuses { $0.headCount = bad })
            #expect(refuses { $0.keyValueHeadCount = bad })
            #expect(refuses { $0.headWidth = bad })
            #expect(refuses { $0.feedForwardWidth = bad })
            #expect(refuses { $0.contextLength = bad })
        }
        #expect(refuses { $0.keyValueHeadCount = 3 })
        #expect(refuses { $0.headWidth = 33 })
        #expect(refuses { ($0.headCount, $0.keyValueHeadCount, $0.headWidth) = (1 << 17, 1, 1 << 17) })
        for bad in [Double.nan, .infinity, 0, -1] { #expect(refuses { $0.ropeTheta = bad }) }
        for bad in [Float.nan, .infinity, 0, -1, 1] { #expect(refuses { $0.rmsNormEpsilon = bad }) }
        #expect(
            refuses {
                ($0.width, $0.layerCount, $0.feedForwardWidth, $0.vocabularySize) = (1 << 17, 1 << 10, 1 << 17, 1 << 20)
            })
    }

    @Test func initialParametersHaveTheSameBitsEverywhere() {
        // FNV-1a over the bit patterns; the value was made on x86-64 and must hold on every machine.
        let parameters = ParameterLayout(.nano).initialParameters(seed: 42)
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for index in 0..<parameters.count {
            hash = (hash ^ UInt64(parameters.pointer[index].bitPattern)) &* 0x0000_0100_0000_01B3
        }
        #expect(hash == 13_649_953_803_488_447_496)
    }

    @Test func theScheduleWarmsUpThenFollowsACosine() {
        let schedule = LearningRateSchedule(peak: 1, finalFraction: 0.1, warmUp: 10, total: 110)
        #expect(schedule.rate(at: 0) == 0.1)
        #expect(schedule.rate(at: 9) == 1)
        #expect(schedule.rate(at: 10) == 1)
        #expect(abs(schedule.rate(at: 60) - 0.55) < 1e-6)
        #expect(schedule.rate(at: 110) == 0.1 && schedule.rate(at: .max) == 0.1)
        #expect(schedule.rate(at: 0, unit: 5) == 0.5)
        let none = LearningRateSchedule(peak: 1, warmUp: 0, total: 0)
        #expect(none.rate(at: 0) == 0.1)
    }
}
